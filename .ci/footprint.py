"""Print how long ``import smoothcs`` takes and how large its environment is."""

import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path


def seconds_to_import(module: str) -> float:
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


nothing = seconds_to_import("sys")
for module in ("sklearn.base", "torch", "smoothcs"):
    print(f"import {module}: {seconds_to_import(module) - nothing:.2f} s (median of 5)")
packages = Path(sysconfig.get_paths()["purelib"])
print(f"all packages: {megabytes(packages):,.0f} MB")
sizes = {folder.name: megabytes(folder) for folder in packages.iterdir() if folder.is_dir()}
for name in sorted(sizes, key=sizes.__getitem__, reverse=True)[:6]:
    print(f"    {name}: {sizes[name]:,.0f} MB")
print(f"    smoothcs: {sizes['smoothcs']:.1f} MB")
