"""ROOT itself on files of kerasgen: a program for a Python that has PyROOT.

root_events.py read FILE       prints as JSON what ROOT finds in ``digits`` of the file
root_events.py copy IN OUT     writes ``digits`` of the file with RDataFrame: an RNTuple if OUT
                               ends in .rntuple.root, else a TTree
root_events.py vectors IN OUT  writes it with TTree::Fill, as branches of std::vector
root_events.py sets FILE       prints as JSON the point sets of the file
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

with warnings.catch_warnings():  # the wheel warns that it is an alpha version
    warnings.simplefilter("ignore")
    import ROOT

# Type in C++ and expression of what is taken from each event.
EVENT = {
    "event": ("Long64_t", "(Long64_t)event"),
    "run": ("Int_t", "(Int_t)run"),
    "hits": ("ULong64_t", "(ULong64_t)adu.size()"),
    "charge": ("ULong64_t", "charge(adu)"),
    "hash": ("ULong64_t", "hash_hits(sensor, u, v, adu, type)"),
}
ROOT.gInterpreter.Declare("""
using ROOT::RVec;

ULong64_t charge(const RVec<UShort_t> &adu) {
  return std::accumulate(adu.begin(), adu.end(), 0ULL);
}

ULong64_t hash_hits(const RVec<Int_t> &sensor, const RVec<UShort_t> &u, const RVec<UShort_t> &v,
                    const RVec<UShort_t> &adu, const RVec<UChar_t> &type) {
  ULong64_t sum = 0;
  for (ULong64_t i = 0; i < sensor.size(); i++) {
    ULong64_t hit = ((sensor[i] * 1009ULL + u[i]) * 1009 + v[i]) * 1009 + adu[i];
    sum += (i + 1) * (hit * 17 + type[i]);
  }
  return sum;
}

template <typename T>
void copy(std::vector<T> &to, TTreeReaderArray<T> &from) { to.assign(from.begin(), from.end()); }

void write_vectors(const char *in, const char *out) {
  TFile from(in);
  TTreeReader reader("digits", &from);
  TTreeReaderValue<Long64_t> event(reader, "event");
  TTreeReaderArray<Int_t> sensor(reader, "sensor");
  TTreeReaderArray<UShort_t> u(reader, "u"), v(reader, "v"), adu(reader, "adu");
  TTreeReaderArray<UChar_t> type(reader, "type");
  TFile to(out, "recreate");
  TTree tree("digits", "");
  Long64_t number;
  std::vector<Int_t> sensors;
  std::vector<UShort_t> us, vs, adus;
  std::vector<UChar_t> types;
  tree.Branch("event", &number);
  tree.Branch("sensor", &sensors);
  tree.Branch("u", &us);
  tree.Branch("v", &vs);
  tree.Branch("adu", &adus);
  tree.Branch("type", &types);
  while (reader.Next()) {
    number = *event;
    copy(sensors, sensor);
    copy(us, u);
    copy(vs, v);
    copy(adus, adu);
    copy(types, type);
    tree.Fill();
  }
  to.Write();
}
""")


def read(path: str) -> dict[str, Any]:
    """The events by RDataFrame, the other keys, and the baskets or clusters of the tree."""
    frame = ROOT.RDataFrame("digits", path)
    for name, (_, expression) in EVENT.items():
        frame = frame.Define(f"found_{name}", expression)
    taken = {name: frame.Take[kind](f"found_{name}") for name, (kind, _) in EVENT.items()}
    total = frame.Sum("adu")
    found: dict[str, Any] = {name: [int(x) for x in values] for name, values in taken.items()}
    found["charge_of_all"] = total.GetValue()
    file = ROOT.TFile.Open(path)
    kinds = {key.GetName(): key.GetClassName() for key in file.GetListOfKeys()}
    found["class"] = kinds.pop("digits")
    found["strings"] = {name: str(file.Get(name)) for name in kinds}
    if found["class"] == "TTree":
        tree = file.Get("digits")
        found["drawn"] = tree.Draw("adu", "", "goff")  # its buffer has the maximum of nhits
        found["parts"] = tree.GetBranch("adu").GetWriteBasket()
    else:
        found["parts"] = ROOT.RNTupleReader.Open("digits", path).GetDescriptor().GetNClusters()
    return found


def read_sets(path: str) -> dict[str, Any]:
    """Label and coordinates of each set."""
    frame = ROOT.RDataFrame("sets", path).Define("found_label", "(int)label")
    names = [str(name) for name in frame.GetColumnNames()]
    coordinates = [name for name in names if "label" not in name and name != "npoints"]
    taken = {name: frame.Take["ROOT::RVec<float>"](name) for name in coordinates}
    labels = frame.Take["int"]("found_label")
    lists = {name: [list(values) for values in column] for name, column in taken.items()}
    return {"label": list(labels), **lists}


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    if command == "read":
        print(json.dumps(read(*paths)))
    elif command == "sets":
        print(json.dumps(read_sets(*paths)))
    elif command == "copy":
        options, formats = ROOT.RDF.RSnapshotOptions(), ROOT.RDF.ESnapshotOutputFormat
        rntuple = paths[1].endswith(".rntuple.root")
        options.fOutputFormat = formats.kRNTuple if rntuple else formats.kTTree
        ROOT.RDataFrame("digits", paths[0]).Snapshot("digits", paths[1], ".*", options)
    elif command == "vectors":
        ROOT.write_vectors(*paths)
