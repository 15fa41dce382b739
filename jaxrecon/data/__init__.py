"""Readers and writers of raw data and images: lazy, validated, one slice at a time, as NumPy arrays."""

from . import simulate
from .arrays import ArrayScan
from .bart import BartScan, read_cfl
from .calgary import CalgaryScan
from .cmrxrecon import KNOWN_BAD_2024, CMRxReconScan, read_radial_bank
from .dead_columns import dead_columns, restore_columns
from .detect import open
from .examples import EXAMPLES, example
from .fastmri import FastMRIScan
from .geometry import crop_to_recon_size, image_header
from .index import GLEAM_SPLIT, Entry, Source, index_files, scan_name, select, split, split_scans, subject
from .ismrmrd import IsmrmrdScan
from .masks import acquired_mask, read_mask
from .mridata import GleamScan
from .nifti import NiftiScan
from .npz import NumpyScan
from .parts import Parts
from .prepare import MapSettings, is_prepared, prepare_scan, prepared_files
from .scan import Header, Scan, Slice, remove_oversampling, sampled
from .series import SeriesSource, n_positions, series
from .write import write_cfl, write_leaderboard_2023, write_reconstruction

__all__ = [
    "EXAMPLES",
    "GLEAM_SPLIT",
    "KNOWN_BAD_2024",
    "ArrayScan",
    "BartScan",
    "CMRxReconScan",
    "CalgaryScan",
    "Entry",
    "FastMRIScan",
    "GleamScan",
    "Header",
    "IsmrmrdScan",
    "MapSettings",
    "NiftiScan",
    "NumpyScan",
    "Parts",
    "Scan",
    "SeriesSource",
    "Slice",
    "Source",
    "acquired_mask",
    "crop_to_recon_size",
    "dead_columns",
    "example",
    "image_header",
    "index_files",
    "is_prepared",
    "n_positions",
    "open",
    "prepare_scan",
    "prepared_files",
    "read_cfl",
    "read_mask",
    "read_radial_bank",
    "remove_oversampling",
    "restore_columns",
    "sampled",
    "scan_name",
    "select",
    "series",
    "simulate",
    "split",
    "split_scans",
    "subject",
    "write_cfl",
    "write_leaderboard_2023",
    "write_reconstruction",
]
