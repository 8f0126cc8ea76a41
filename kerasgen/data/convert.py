"""Convert detector files to kerasgen HDF5, and kerasgen HDF5 to ROOT.

``python -m kerasgen.data.convert IN OUT``. The content of IN decides its format: ROOT (basf2
PXDDigits, the TTree ``digits``, jets of CMS PFNano and NanoAOD v15), NPZ hit lists, a folder of
PNG hitmaps, JetNet HDF5, MNIST idx images (to superpixels), kerasgen HDF5. OUT ends in ``.h5``, or
in ``.root`` if IN is kerasgen HDF5.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from kerasgen.command import Parser, add_force, check_output, positive_int, run
from kerasgen.data.geometry import (
    DEFAULT_GEOMETRY,
    Geometry,
    builtin_geometries,
    load_geometry,
)
from kerasgen.data.jet_files import is_jetnet, jetnet_sets
from kerasgen.data.layout import KIND, open_hdf5, read_kind
from kerasgen.data.point_store import KIND as POINT_KIND
from kerasgen.data.point_store import write_points
from kerasgen.data.points import NonEmpty, PointSchema, PointSets
from kerasgen.data.source import FORMATS, Source
from kerasgen.data.store import EventFile, EventWriter
from kerasgen.data.superpixels import idx_sets, is_idx
from kerasgen.errors import InputError

MAGIC = {
    b"root": "root", b"PK\x03\x04": "npz", b"PK\x05\x06": "npz", b"\x89HDF": "hdf5",
    b"\x00\x00\x08\x03": "idx", b"\x1f\x8b": "gzip",
}  # fmt: skip
POINT_FORMATS = ("idx", "jetnet", "pfnano")


def file_format(path: Path) -> str:
    """Detect the format: root, npz, hdf5, png (folder), one of ``POINT_FORMATS``, or point-sets.

    "hdf5" is kerasgen HDF5 of pixel hits and "point-sets" of point sets.

    Raises:
        InputError: missing, empty, or unknown format.
    """
    if path.is_dir():
        return "png"
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder")
    with open(path, "rb") as file:
        start = file.read(4)
    if not start:
        raise InputError(f"{path}: empty file")
    form = MAGIC.get(start) or MAGIC.get(start[:2])
    if form == "root":
        from kerasgen.data.cms_files import is_pfnano  # uproot is slow to load

        return "pfnano" if is_pfnano(path) else "root"
    if form == "hdf5":
        form = _kind_of_hdf5(path)
    elif form == "gzip":
        form = "idx" if is_idx(path) else None
    if form is None:
        raise InputError(f"{path}: truncated, corrupted or of unknown format; {FORMATS}")
    return form


def _kind_of_hdf5(path: Path) -> str | None:
    if is_jetnet(path):
        return "jetnet"
    with open_hdf5(path) as file:
        kind = read_kind(file)
    if kind == POINT_KIND:
        return POINT_KIND
    return "hdf5" if kind == KIND else None


def point_source(
    path: Path, form: str, options: argparse.Namespace
) -> tuple[Iterator[PointSets], PointSchema]:
    """Open a foreign file of point sets; return sets and schema."""
    most = {} if options.points is None else {"most": options.points}
    if form == "jetnet":
        return jetnet_sets(path, options.jet_class, **most)
    if form == "idx":
        return idx_sets(path, **most)
    from kerasgen.data.cms_files import pfnano_sets

    puppi = options.weights == "puppi"
    return pfnano_sets(path, options.collection or "FatJet", puppi=puppi, **most)


def to_store(source: Source, out: Path) -> None:
    """Write all events of a source to a kerasgen HDF5 file, with a progress bar on terminals."""
    with (
        EventWriter(out, source.geometry, source.creator, source.seed, mask=source.mask) as writer,
        tqdm(total=source.n_events, unit="event", disable=None) as bar,
    ):
        for hits in source.blocks:
            writer.write(hits)
            bar.update(len(hits) // len(source.geometry.sensors))


def _open_source(path: Path, form: str, options: argparse.Namespace) -> Source:
    # Readers are imported on demand: uproot and Pillow are slow to load.
    asked: Geometry | None = load_geometry(options.geometry) if options.geometry else None
    drop = options.drop_below_threshold
    if form == "root":
        from kerasgen.data.root import read_root

        return read_root(path, asked, options.tree, drop)
    geometry = asked or load_geometry(DEFAULT_GEOMETRY)
    if form == "png":
        from kerasgen.data.images import read_images

        return read_images(path, geometry, drop)
    from kerasgen.data.hit_lists import read_hit_list

    return read_hit_list(path, geometry, options.array, drop)


def _check_options(form: str, out: Path, options: argparse.Namespace) -> None:
    if form == POINT_KIND:
        raise InputError(
            f"{options.input}: is a kerasgen file of point sets already; only pixel hits are "
            "converted from kerasgen HDF5, to .root"
        )
    expected = (".root",) if form == "hdf5" else (".h5", ".hdf5")
    if out.suffix not in expected:
        raise InputError(
            f"{out}: {form} input is converted to {' or '.join(expected)}, not {out.suffix!r}"
        )
    check_output(out, options.force)
    if options.tree is not None and form != "root":
        raise InputError(f"--tree is for ROOT input, {options.input} is {form}")
    if options.array is not None and form != "npz":
        raise InputError(f"--array is for NPZ input, {options.input} is {form}")
    if form in ("hdf5", *POINT_FORMATS) and (options.geometry or options.drop_below_threshold):
        raise InputError(f"--geometry and --drop-below-threshold are not for {form} input")
    for option, forms in (("points", POINT_FORMATS), ("jet_class", ["jetnet"]),
                          ("collection", ["pfnano"]), ("weights", ["pfnano"])):  # fmt: skip
        if getattr(options, option) is not None and form not in forms:
            name = "class" if option == "jet_class" else option
            raise InputError(f"--{name} is not for {form} input")


def main(argv: list[str] | None = None) -> int:
    """Run the command ``convert``; see the module."""
    parser = Parser(prog="kerasgen convert", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("input", type=Path, metavar="IN", help="file, or folder of PNG images")
    parser.add_argument("output", type=Path, metavar="OUT", help="a new file.h5, or file.root")
    parser.add_argument(
        "--geometry",
        metavar="NAME",
        help=f"{', '.join(builtin_geometries())} or a JSON file "
        f"(default: the one in a ROOT file, else {DEFAULT_GEOMETRY})",
    )
    parser.add_argument("--tree", metavar="NAME", help="TTree of a ROOT file (default: by content)")
    parser.add_argument("--array", metavar="NAME", help="hit list of an NPZ file with several")
    parser.add_argument(
        "--drop-below-threshold",
        action="store_true",
        help="drop charges below the geometry's threshold instead of raising an error",
    )
    parser.add_argument(
        "--points", type=positive_int, metavar="P", help="max. points of a set (default: all)"
    )
    parser.add_argument(
        "--class", dest="jet_class", metavar="NAME",
        help="class of the jets of a JetNet file (default: from its name)",
    )  # fmt: skip
    parser.add_argument(
        "--collection", metavar="NAME", help="jet collection of a CMS file (default: FatJet)"
    )
    parser.add_argument(
        "--weights", choices=("puppi",),
        help="multiply the pT of constituents of a CMS file by their PUPPI weights",
    )  # fmt: skip
    add_force(parser)
    options = parser.parse_args(argv)
    form = file_format(options.input)
    left_out = ""
    _check_options(form, options.output, options)
    if form == "hdf5":
        from kerasgen.data.root_writing import write_root

        with EventFile(options.input) as file:
            write_root(file, options.output)
    elif form in POINT_FORMATS:
        blocks, schema = point_source(options.input, form, options)
        sets = NonEmpty(blocks, schema, str(options.input))
        write_points(options.output, schema, sets, f"{form} {options.input.name}")
        left_out = sets.summary()
    else:
        to_store(_open_source(options.input, form, options), options.output)
    print(f"{options.output}: written{left_out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
