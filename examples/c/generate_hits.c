/* Generate hits of events with an exported model, through TensorFlow's C API only.
 *
 *   generate_hits MODEL SENSORS SEED FIRST_EVENT EVENTS > hits.txt
 *
 * MODEL is the folder of a version, as exported/pxd_biggan/1, SENSORS the number of sensors of an
 * event. The program writes one line per fired pixel: event, sensor, row (u), column (v), charge in
 * ADU, and the background type if the model has several. Event k of seed S is the event that
 * `kerasgen generate --seed S --first-event k` writes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tensorflow/c/c_api.h>

typedef struct {
  const unsigned char *data;
  size_t size;
} Bytes;

static void fail(const char *what, const char *why) {
  fprintf(stderr, "generate_hits: %s: %s\n", what, why);
  exit(1);
}

static void check(const char *what, const TF_Status *status) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

static uint64_t varint(Bytes *from) {
  uint64_t value = 0;
  for (int shift = 0; from->size && shift < 64; shift += 7) {
    unsigned char byte = *from->data++;
    from->size--;
    value |= (uint64_t)(byte & 0x7F) << shift;
    if (byte < 0x80) break;
  }
  return value;
}

/* Read the next field of a serialised protocol buffer. Returns its number, or 0 at the end. */
static int next_field(Bytes *from, Bytes *content) {
  if (!from->size) return 0;
  uint64_t tag = varint(from), length = 0;
  switch (tag & 7) {
    case 0: varint(from); break;
    case 1: length = 8; break;
    case 2: length = varint(from); break;
    case 5: length = 4; break;
    default: fail("model", "not a protocol buffer");
  }
  if (length > from->size) fail("model", "a protocol buffer ends too early");
  content->data = from->data;
  content->size = (size_t)length;
  from->data += length;
  from->size -= length;
  return (int)(tag >> 3);
}

/* Find the content of a field, or with a key of that entry of a map field; empty if missing. */
static Bytes find(Bytes message, int number, const char *key) {
  Bytes content, none = {NULL, 0};
  for (int found; (found = next_field(&message, &content));) {
    if (found != number) continue;
    if (!key) return content;
    Bytes name = find(content, 1, NULL);
    if (name.size == strlen(key) && !memcmp(name.data, key, name.size))
      return find(content, 2, NULL);
  }
  return none;
}

/* Find the name, as "op:0", of an input (side 1) or output (side 2) of the signature "digits". */
static Bytes name_of(Bytes meta_graph, int side, const char *name) {
  Bytes signature = find(meta_graph, 5, "digits");  /* MetaGraphDef.signature_def */
  return find(find(signature, side, name), 1, NULL); /* TensorInfo.name */
}

static TF_Output tensor_of(TF_Graph *graph, Bytes meta_graph, int side, const char *name) {
  Bytes tensor = name_of(meta_graph, side, name);
  char operation[256];
  if (!tensor.size || tensor.size >= sizeof operation) fail(name, "no such tensor in \"digits\"");
  memcpy(operation, tensor.data, tensor.size);
  operation[tensor.size] = 0;
  char *colon = strrchr(operation, ':');
  TF_Output output = {NULL, colon ? atoi(colon + 1) : 0};
  if (colon) *colon = 0;
  output.oper = TF_GraphOperationByName(graph, operation);
  if (!output.oper) fail(operation, "no such operation in the graph");
  return output;
}

static int value_at(const TF_Tensor *tensor, int64_t place) {
  if (TF_TensorType(tensor) == TF_INT16) return ((const int16_t *)TF_TensorData(tensor))[place];
  if (TF_TensorType(tensor) == TF_UINT8) return ((const uint8_t *)TF_TensorData(tensor))[place];
  return ((const int32_t *)TF_TensorData(tensor))[place];
}

static void write_event(int64_t event, const TF_Tensor *count, const TF_Tensor *hits,
                        const TF_Tensor *type) {
  int64_t longest = TF_Dim(hits, 1), columns = TF_Dim(hits, 2);
  for (int64_t sensor = 0; sensor < TF_Dim(count, 0); sensor++) {
    int fired = value_at(count, sensor);
    if (fired < 0) fail("SENSORS", "the model has fewer");
    for (int64_t hit = 0; hit < fired; hit++) {
      printf("%" PRId64 " %" PRId64, event, sensor);
      for (int64_t c = 0; c < columns; c++)
        printf(" %d", value_at(hits, (sensor * longest + hit) * columns + c));
      if (type) printf(" %d", value_at(type, sensor * longest + hit));
      putchar('\n');
    }
  }
}

static int64_t parse_integer(const char *name, const char *text, int64_t lowest) {
  char *end;
  int64_t value = strtoll(text, &end, 10);
  if (!*text || *end || value < lowest) {
    fprintf(stderr, "generate_hits: %s: %s is not a whole number from %" PRId64 " on\n", name, text,
            lowest);
    exit(2);
  }
  return value;
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fputs("usage: generate_hits MODEL SENSORS SEED FIRST_EVENT EVENTS\n", stderr);
    return 2;
  }
  int64_t sensors = parse_integer("SENSORS", argv[2], 1);
  int64_t seed = parse_integer("SEED", argv[3], INT64_MIN);
  int64_t first = parse_integer("FIRST_EVENT", argv[4], 0);
  int64_t events = parse_integer("EVENTS", argv[5], 1);

  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Buffer *meta_graph = TF_NewBuffer();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph,
                                                     meta_graph, status);
  check(argv[1], status);
  Bytes meta = {meta_graph->data, meta_graph->length};
  TF_Output inputs[] = {tensor_of(graph, meta, 1, "sensor"), tensor_of(graph, meta, 1, "seed")};
  const char *names[] = {"count", "hits", "type"};
  const int n = name_of(meta, 2, "type").size ? 3 : 2; /* outputs: the last one is optional */
  TF_Output outputs[3];
  for (int i = 0; i < n; i++) outputs[i] = tensor_of(graph, meta, 2, names[i]);

  int64_t rows[] = {sensors}, pairs[] = {sensors, 2};
  TF_Tensor *values[] = {
      TF_AllocateTensor(TF_INT32, rows, 1, (size_t)sensors * sizeof(int32_t)),
      TF_AllocateTensor(TF_INT64, pairs, 2, (size_t)sensors * 2 * sizeof(int64_t)),
  };
  int32_t *sensor = TF_TensorData(values[0]);
  int64_t *pair = TF_TensorData(values[1]);
  for (int64_t event = first; event < first + events; event++) {
    for (int64_t s = 0; s < sensors; s++) {
      sensor[s] = (int32_t)s;
      pair[2 * s] = seed;
      pair[2 * s + 1] = event;
    }
    TF_Tensor *found[3] = {NULL, NULL, NULL};
    TF_SessionRun(session, NULL, inputs, values, 2, outputs, found, n, NULL, 0, NULL, status);
    check("generation", status);
    write_event(event, found[0], found[1], found[2]);
    for (int i = 0; i < n; i++) TF_DeleteTensor(found[i]);
  }
  for (int i = 0; i < 2; i++) TF_DeleteTensor(values[i]);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteBuffer(meta_graph);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  if (fflush(stdout) || ferror(stdout)) fail("output", "could not be written");
  return 0;
}
