"""Files changed at random, and what reading them must come to: right, or refused in one line.

`python -m tests.mutations FOLDER SEED FIRST LAST LOG` reads mutations FIRST to LAST of the run, VAE, metric,
draws and checkpoint in FOLDER, and writes to LOG what each came to: the line before the call, so that who
started this process knows at which mutation it died. All follows from SEED.
"""

import json
import math
import random
import resource
import shutil
import signal
import struct
import sys
import traceback
import warnings
from pathlib import Path

NASTY = [None, True, [], {}, "", "x", "<script>", "a\x1b[2Jb", "\ud800", "../../etc/passwd", "/etc/passwd", 0, -1,
         1, 2**31, 2**63, 2**70, 10**400, 1e308, math.nan, math.inf, -math.inf, 1.5, [[1]], {"a": {}}, [1] * 300,
         "9" * 5000, [2**20, 2**20], {"evil": 1}]  # fmt: skip


SECONDS = 15  # of one mutation


def flipped(rng: random.Random, data: bytes) -> bytes:
    new = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        new[rng.randrange(len(new))] ^= 1 << rng.randrange(8)
    return bytes(new)


def truncated(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def spliced(rng: random.Random, data: bytes) -> bytes:
    start, n = rng.randrange(len(data)), rng.randrange(1, 64)
    piece, at = data[start : start + n], rng.randrange(len(data))
    return data[:at] + piece + data[at + rng.choice([0, len(piece)]) :]


def blotted(rng: random.Random, data: bytes) -> bytes:
    at, n = rng.randrange(len(data)), rng.randrange(1, 32)
    return data[:at] + rng.choice([bytes(n), b"\xff" * n, rng.randbytes(n)]) + data[at + n :]


def lengthened(rng: random.Random, data: bytes) -> bytes:
    return data + rng.randbytes(rng.randrange(1, 40))


BYTES = [flipped, flipped, truncated, spliced, blotted, lengthened]


def places(value, here=()):
    """Every (container, key) in a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from places(inner)


def restructured(rng: random.Random, text: str) -> str:
    """The same JSON with a name dropped, renamed or doubled, or another value."""
    value = json.loads(text)
    everywhere = list(places(value))
    within, key = rng.choice(everywhere)
    action = rng.choice(["drop", "rename", "set", "set", "set", "swap", "double", "deep", "add"])
    if action == "drop":
        del within[key]
    elif action == "rename" and isinstance(within, dict):
        within[rng.choice(["evil", key + "x", "", "../x", "__class__"])] = within.pop(key)
    elif action == "swap":
        other, name = rng.choice(everywhere)
        within[key], other[name] = json.loads(json.dumps([other[name], within[key]]))
    elif action == "add" and isinstance(within, dict):
        within["evil"] = rng.choice(NASTY)
    elif action == "deep":
        text = json.dumps(value).replace("null", "0")
        within[key] = "@deep@"
        n = rng.choice([20, 40, 3000, 200_000])
        return json.dumps(value).replace('"@deep@"', "[" * n + "]" * n)
    elif action == "double" and isinstance(within, dict):
        inner = json.dumps(within[key])
        within[key] = "@twice@"
        twice = f"{inner}, {json.dumps(key)}: {json.dumps(rng.choice(NASTY[:20]))}"
        return json.dumps(value).replace('"@twice@"', twice)
    else:
        within[key] = rng.choice(NASTY)
    return json.dumps(value)


def of_json(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.3:
        return rng.choice(BYTES)(rng, data)
    return restructured(rng, data.decode()).encode("utf-8", "surrogatepass")


def of_safetensors(rng: random.Random, data: bytes) -> bytes:
    (n,) = struct.unpack("<Q", data[:8])
    header, numbers = data[8 : 8 + n].decode(), data[8 + n :]
    action = rng.random()
    if action < 0.3:
        return rng.choice(BYTES)(rng, data)
    if action < 0.4:
        length = rng.choice([0, 1, n - 1, n + 1, 2**31, 2**40, 2**63, 2**64 - 1])
        return struct.pack("<Q", length) + data[8:]
    if action < 0.55:  # numbers that are none
        new, at = bytearray(numbers), rng.randrange(len(numbers) // 4) * 4
        bad = rng.choice([math.nan, math.inf, -math.inf, -1.0, 0.0, 1e38])
        new[at : at + 4] = struct.pack("<f", bad)
        return data[: 8 + n] + bytes(new)
    if action < 0.75:
        words = json.loads(header)
        name = rng.choice([name for name in words if name != "__metadata__"])
        field = rng.choice(["dtype", "shape", "data_offsets"])
        words[name][field] = {
            "dtype": rng.choice(["F64", "F16", "I32", "BOOL", "F8_E4M3", "U64", "EVIL", "I64", "BF16"]),
            "shape": rng.choice([[], [0], [2**40], [2**62, 4], [1, *words[name]["shape"]],
                                 words[name]["shape"][::-1], [2**60, 0], [-1]]),
            "data_offsets": rng.choice([[0, 2**60], [4, 0], [0, 0], [-1, 4], [0, len(numbers)]]),
        }[field]  # fmt: skip
        header = json.dumps(words)
    else:
        header = restructured(rng, header)
    text = header.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + numbers


def of_netcdf(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.6:
        return rng.choice(BYTES)(rng, data)
    import io

    import h5py
    import numpy as np

    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        group = file[rng.choice(["posterior", "sample_stats"])]
        name = rng.choice(list(group))
        action = rng.randrange(9)
        if action == 0:
            del group[name]
        elif action == 1:
            file.move("posterior", rng.choice(["prior", "x", "\x1b[2J"]))
        elif action == 2:
            where = rng.choice([group, group[name], file])
            attribute = rng.choice(["method", "superchains", "incomplete", "log_volume", "max_tree_depth",
                                    "scale_factor", "_FillValue", "units", "dtype", "words", "title"])  # fmt: skip
            where.attrs[attribute] = rng.choice(
                ["<script>", "$\\frac$", -1, 0, 2**40, math.nan, [1.0, math.inf], [[1]], b"\xff"]
            )
        elif action == 3:
            del group[name]
            group.create_dataset(name, shape=(2, 2**40, 4), dtype="f8", chunks=(1, 1024, 1))
        elif action == 4:
            del group[name]
            group[name] = rng.choice(
                [
                    h5py.SoftLink("/posterior/z"),
                    h5py.ExternalLink("/etc/passwd", "/"),
                    np.bytes_(b"x"),
                ]
            )
        elif action == 5:
            del group[name]
            group.create_dataset(name, (4,), "u1", external=[("/etc/passwd", 0, 4)])
        elif action == 6 and group[name].dtype.kind == "f":
            group[name][0] = rng.choice([math.nan, math.inf, -math.inf, 1e308])
        elif action == 7:
            group.create_group("deeper").create_dataset("z", data=np.zeros((2, 10, 2)))
        else:
            del group[name]
            shape = rng.choice([(), (0,), (2,), (2, 10), (2, 0, 2), (10, 2, 2), (2, 10, 2, 2)])
            group.create_dataset(
                name, data=np.zeros(shape, rng.choice(["f8", "f4", "i8", "c16", "?"]))
            )
    return buffer.getvalue()


BY_ENDING = {".json": of_json, ".safetensors": of_safetensors, ".nc": of_netcdf}


def finite(*tensors):
    import torch

    assert all(bool(torch.isfinite(t).all()) for t in tensors if t.is_floating_point())


# How each file of a run is read; what comes of it is within the schema.
def read_vae(run):
    finite(*run.vae().state_dict().values())


def read_history(run):
    history = run.history()
    assert history.stopped in ("finished", "early", "interrupted")
    assert 0 <= history.best_epoch <= len(history.table)
    assert all(map(math.isfinite, history.table["loss"]))


def read_posterior(run):
    z, labels = run.embeddings()
    assert z.dim() == 2
    finite(z, run.examples(), *([] if labels is None else [labels]))
    assert labels is None or labels.max() < len(run.classes)
    run.posterior()


def read_training(run):
    finite(run.training()[0])


def check_draws(draws):
    import numpy as np

    z = draws.posterior["z"].to_numpy()
    assert z.ndim == 3
    assert np.isfinite(z).all()


def read_draws(run):
    check_draws(run.draws("nuts"))


def check_metric(metric):
    import torch

    z = torch.zeros(1, metric.dimension, dtype=metric.dtype)
    finite(metric.log_volume_element(z), *metric.buffers())


def read_metric(run):
    check_metric(run.metric("nuts"))


def read_verdict(run):
    found = run.diagnosis("nuts")
    assert found.verdict in ("pass", "too short", "cannot tell", "disagree")
    str(found)


def read_all(run):
    from pyrogeo.reports import summary

    lines = summary(run).split("\n")
    assert all(line.isprintable() for line in lines)
    if run.state == "trained":
        read_posterior(run)


OF_RUN = {
    "run.json": read_all,
    "vae/vae.json": read_vae,
    "vae/weights.safetensors": read_vae,
    "history.json": read_history,
    "posterior.safetensors": read_posterior,
    "training.safetensors": read_training,
    "draws/nuts.nc": read_draws,
    "draws/nuts.metric.safetensors": read_metric,
    "draws/nuts.verdict.json": read_verdict,
}


def load_vae(folder):
    from pyrogeo import recipes

    finite(*recipes.load(folder / "own" / "vae").state_dict().values())


def load_metric(folder):
    from pyrogeo.geometry import CentroidMetric

    check_metric(CentroidMetric.load(folder / "own" / "full.safetensors"))


def load_draws(folder):
    from pyrogeo.sampling.draws import read_draws
    from pyrogeo.verdict import diagnose

    draws = read_draws(folder / "own" / "nuts.nc")
    check_draws(draws)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        diagnose(draws)


def resume(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vae, data = parts()
        trained(vae, data, folder / "own" / "checkpoint.safetensors", epochs=3)
    finite(*vae.state_dict().values())


OF_ONE_S_OWN = {
    "own/vae/vae.json": load_vae,
    "own/vae/weights.safetensors": load_vae,
    "own/full.safetensors": load_metric,
    "own/nuts.nc": load_draws,
    "own/checkpoint.safetensors": resume,
}
#: how many of 100 mutations of each half; what HDF5 reads takes its time
AS_LISTED, ANEW = "as listed", "anew"
SHARES = {
    AS_LISTED: {name: 1 for name in OF_RUN if name != "run.json"},
    ANEW: {
        **dict.fromkeys({**OF_RUN, **OF_ONE_S_OWN}, 8.0),
        "run.json": 8, "draws/nuts.nc": 3, "own/nuts.nc": 3, "own/checkpoint.safetensors": 6,
    },
}  # fmt: skip


def parts():
    import torch

    from pyrogeo.recipes.standard import standard_vae

    torch.manual_seed(0)
    vae = standard_vae((5,), 2, hidden=(8,), likelihood="normal")
    return vae, torch.randn(40, 5)


def trained(vae, data, checkpoint, epochs):
    import pyrogeo as pg

    return pg.fit(vae, data, epochs=epochs, seed=0, checkpoint=checkpoint, progress=False)


def make(folder: Path) -> None:
    """A run with all kinds of file, and the same kinds on their own."""
    import torch
    from torch.distributions import MultivariateNormal

    from pyrogeo import recipes
    from pyrogeo.datasets import Dataset
    from pyrogeo.geometry import CentroidMetric
    from pyrogeo.run import Run

    vae, x = parts()
    labels = torch.arange(40) % 3
    data = Dataset(x, x[:8], x[:8], labels, labels[:8], labels[:8], "chance", ("a", "b", "c"))
    run = Run.create(folder / "run", purpose="mutations")
    run.fit(vae, data, epochs=2, seed=0, progress=False)
    run.sample(10, "nuts", num_chains=2, warmup_steps=5, seed=0, progress=False)
    run.diagnose("nuts")
    own = folder / "own"
    own.mkdir()
    recipes.named("iaf")((5,), 2, hidden=[8], units=4, context=3)[0].save(own / "vae")
    covariances = 0.1 * torch.eye(2).expand(12, 2, 2)
    full = CentroidMetric.from_posterior(MultivariateNormal(torch.randn(12, 2), covariances), 12)
    full.save(own / "full.safetensors")
    shutil.copy(folder / "run" / "draws" / "nuts.nc", own / "nuts.nc")
    vae, data = parts()
    trained(vae, data, own / "checkpoint.safetensors", epochs=2)


def drawn(rng: random.Random, number: int) -> tuple[str, str]:
    """The half that a mutation belongs to, and its file."""
    half = (AS_LISTED, ANEW)[number % 2]
    shares = SHARES[half]
    return half, rng.choices(list(shares), list(shares.values()))[0]


def one(folder: Path, seed: int, number: int) -> str:
    """What a mutation came to: `refused`, `accepted`, or a complaint."""
    from pyrogeo.run import Run
    from pyrogeo.run.manifest import digest

    rng = random.Random(f"{seed} {number}")
    half, name = drawn(rng, number)
    as_they_were = half == AS_LISTED
    path = folder / name if name in OF_ONE_S_OWN else folder / "run" / name
    manifest = folder / "run" / "run.json"
    before, listed = path.read_bytes(), manifest.read_bytes()
    after = before
    while after == before:
        after = BY_ENDING[path.suffix](rng, before)
    try:
        path.write_bytes(after)
        if name in OF_RUN and not as_they_were and path != manifest:
            content = json.loads(listed)
            for step in content["steps"].values():
                if name in step["files"]:
                    step["files"][name] = digest(path)
            manifest.write_text(json.dumps(content))
        said = outcome(lambda: read(name, folder, Run), as_they_were)
    finally:
        path.write_bytes(before)
        manifest.write_bytes(listed)
    return f"{half}\t{name}\t{said}"


def read(name, folder, run_of):
    if name in OF_ONE_S_OWN:
        OF_ONE_S_OWN[name](folder)
    else:
        OF_RUN[name](run_of(folder / "run"))


def outcome(call, must_refuse: bool) -> str:
    import pyrogeo

    ours = str(Path(pyrogeo.__file__).parent)
    try:
        call()
    except (ValueError, ArithmeticError) as error:
        where = traceback.extract_tb(error.__traceback__)[-1].filename
        line = str(error)
        if not where.startswith(ours):
            return f"FOREIGN {type(error).__name__} at {where}: {line[:200]!r}"
        if "\n" in line or not line.isprintable() or len(line) > 600:
            return f"LINES {line[:200]!r}"
        if must_refuse and not isinstance(error, pyrogeo.errors.BrokenFileError):
            return f"OTHER {type(error).__name__}: {line[:200]!r}"
        return "refused"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"TRACEBACK {type(error).__name__} at {where.filename}:{where.lineno}: {str(error)[:200]!r}"
    return "TAKEN" if must_refuse else "accepted"


def main(folder: Path, seed: int, first: int, last: int, log: Path) -> None:
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(
        signal.SIG_UNBLOCK, {signal.SIGALRM}
    )  # which who started us may hold back
    with log.open("a") as lines:
        for number in range(first, last):
            lines.write(f"{number}\t")
            lines.flush()
            signal.alarm(
                SECONDS
            )  # kills, as HDF5 can turn in circles where no exception reaches it
            said = one(folder, seed, number)
            signal.alarm(0)
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            lines.write(f"{said}\t{most}\n")
            lines.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]), Path(sys.argv[5]))
