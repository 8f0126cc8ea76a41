// Generate hits of events with an ONNX model, through ONNX Runtime on one thread.
//
//   generate_hits MODEL SENSORS SEED FIRST_EVENT EVENTS > hits.txt
//
// MODEL is the signature "digits", as exported/onnx/pxd_clusters/1/digits.onnx, SENSORS the number
// of sensors of an event. The program writes one line per fired pixel: event, sensor, row (u),
// column (v), charge in ADU, and the background type if the model has several. The SavedModel and
// `kerasgen generate --seed S --first-event k` give the same event k of seed S, but for rounding.
#include <onnxruntime_cxx_api.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

struct BadInput : std::runtime_error {
  using std::runtime_error::runtime_error;
};

static std::int64_t parse_integer(const char *name, const char *text, std::int64_t lowest) {
  std::int64_t value = 0;
  const char *end = text + std::strlen(text);
  auto [stop, error] = std::from_chars(text, end, value);
  if (text == end || stop != end || error != std::errc() || value < lowest)
    throw BadInput(std::string(name) + ": " + text + " is not a whole number from " +
                   std::to_string(lowest) + " on");
  return value;
}

static Ort::Session load(const Ort::Env &env, const char *path) {
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  options.SetInterOpNumThreads(1);
  return Ort::Session(env, path, options);
}

// A number of a tensor of uint8, int16 or int32.
static int value_at(const Ort::Value &tensor, std::int64_t place) {
  auto type = tensor.GetTensorTypeAndShapeInfo().GetElementType();
  if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16)
    return tensor.GetTensorData<std::int16_t>()[place];
  if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8)
    return tensor.GetTensorData<std::uint8_t>()[place];
  return tensor.GetTensorData<std::int32_t>()[place];
}

// found: count [sensors]; hits [sensors, longest, columns], padded; types [sensors, longest] if any.
static void write_event(std::int64_t event, const std::vector<Ort::Value> &found) {
  const auto &count = found[0], &hits = found[1];
  auto shape = hits.GetTensorTypeAndShapeInfo().GetShape();
  const auto *fired = count.GetTensorData<std::int32_t>();
  for (std::int64_t sensor = 0; sensor < shape[0]; sensor++) {
    if (fired[sensor] < 0) throw std::runtime_error("SENSORS: the model has fewer");
    for (std::int64_t hit = 0; hit < fired[sensor]; hit++) {
      std::cout << event << ' ' << sensor;
      for (std::int64_t column = 0; column < shape[2]; column++)
        std::cout << ' ' << value_at(hits, (sensor * shape[1] + hit) * shape[2] + column);
      if (found.size() > 2) std::cout << ' ' << value_at(found[2], sensor * shape[1] + hit);
      std::cout << '\n';
    }
  }
}

static void run(int argc, char **argv) {
  if (argc != 6) throw BadInput("usage: generate_hits MODEL SENSORS SEED FIRST_EVENT EVENTS");
  const auto sensors = parse_integer("SENSORS", argv[2], 1);
  const auto seed = parse_integer("SEED", argv[3], std::numeric_limits<std::int64_t>::min());
  const auto first = parse_integer("FIRST_EVENT", argv[4], 0);
  const auto events = parse_integer("EVENTS", argv[5], 1);

  Ort::Env env(ORT_LOGGING_LEVEL_FATAL, "generate_hits");
  Ort::Session session = load(env, argv[1]);
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::vector<std::int32_t> sensor(sensors);
  std::vector<std::int64_t> pair(2 * sensors, seed);
  for (std::int64_t s = 0; s < sensors; s++) sensor[s] = static_cast<std::int32_t>(s);
  const std::array<std::int64_t, 1> rows = {sensors};
  const std::array<std::int64_t, 2> pairs = {sensors, 2};
  const std::array<const char *, 2> inputs = {"sensor", "seed"};
  std::vector<const char *> outputs = {"count", "hits"};
  if (session.GetOutputCount() > 2) outputs.push_back("type");

  for (std::int64_t event = first; event < first + events; event++) {
    for (std::int64_t s = 0; s < sensors; s++) pair[2 * s + 1] = event;
    std::array<Ort::Value, 2> values = {
        Ort::Value::CreateTensor<std::int32_t>(memory, sensor.data(), sensor.size(), rows.data(), 1),
        Ort::Value::CreateTensor<std::int64_t>(memory, pair.data(), pair.size(), pairs.data(), 2)};
    write_event(event, session.Run(Ort::RunOptions{nullptr}, inputs.data(), values.data(), 2,
                                   outputs.data(), outputs.size()));
  }
  if (!std::cout.flush()) throw std::runtime_error("output: could not be written");
}

int main(int argc, char **argv) {
  try {
    run(argc, argv);
    return 0;
  } catch (const BadInput &error) {
    std::cerr << "generate_hits: " << error.what() << '\n';
    return 2;
  } catch (const std::exception &error) {
    std::cerr << "generate_hits: " << error.what() << '\n';
    return 1;
  }
}
