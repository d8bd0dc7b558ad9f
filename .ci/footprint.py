"""Print how long ``import smoothcs`` takes, in CPU time, and how large its environment is."""

import resource
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path


def seconds_to_import(module: str) -> float:
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return statistics.median(times)


def megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


nothing = seconds_to_import("sys")
for module in ("sklearn.base", "torch", "smoothcs"):
    print(f"import {module}: {seconds_to_import(module) - nothing:.2f} s of CPU (median of 5)")
packages = Path(sysconfig.get_paths()["purelib"])
print(f"all packages: {megabytes(packages):,.0f} MB")
sizes = {folder.name: megabytes(folder) for folder in packages.iterdir() if folder.is_dir()}
for name in sorted(sizes, key=sizes.__getitem__, reverse=True)[:6]:
    print(f"    {name}: {sizes[name]:,.0f} MB")
print(f"    smoothcs: {sizes['smoothcs']:.1f} MB")
