import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pyrogeo.cli import app
from pyrogeo.run import Run

SHIFT, SPREAD = np.array([5, 1000, -3, 0, 9, 1e4]), np.array([1, 50, 0.01, 1, 2, 1])


def call(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    np.save(
        folder / "table.npy", rng.normal(size=(90, 2)) @ rng.normal(size=(2, 6)) * SPREAD + SHIFT
    )
    return folder / "table.npy"


@pytest.fixture(scope="module")
def run(table):
    folder = table.parent / "run"
    call(
        "fit",
        table,
        "-o",
        folder,
        "--latent-dim",
        2,
        "--hidden",
        "16",
        "--epochs",
        5,
        "--no-progress",
    )
    call("sample", folder, "-n", 20, "--chains", 2, "--warmup", 20, "--no-progress")
    return folder


def test_from_a_table_to_pictures(run):
    assert "verdict:" in call("diagnose", run)
    call("diagnose", run, "--strict", code=2)
    assert "nuts.npz" in call("decode", run)
    with np.load(
        run / "decoded" / "nuts.npz"
    ) as decoded:  # in the table's units, not in standard deviations
        x = decoded["data"].reshape(-1, 6)
    assert (np.abs(x.mean(0) - SHIFT) < 5 * np.abs(SPREAD) + 1e-6).all()
    printed = call("plot", run)
    assert {p.name for p in (run / "figures").iterdir()} == {
        "history.png", "reconstructions.png", "latent.png", "chains.png", "spectrum.png",
    }  # fmt: skip
    assert "written to" in printed
    shown = call("info", run)
    assert "trained" in shown
    assert "learned-normal" in shown
    assert "2 chains of 20" in shown


def test_from_a_folder_of_images(tmp_path):
    rng = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "album" / name).mkdir(parents=True)
        for i in range(15):
            pixels = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "album" / name / f"{i}.png")
    (tmp_path / "album" / "torn.png").write_text("")
    out = tmp_path / "run"
    fit = [
        "fit",
        tmp_path / "album",
        "-o",
        out,
        "--network",
        "conv",
        "--hidden",
        "4,8",
        "--size",
        12,
    ]
    fit += ["--epochs", 1, "--latent-dim", 3, "--no-progress"]
    assert "torn.png" in call(*fit, code=1)
    assert "warning: skipped 1 files" in call(*fit, "--skip-broken", "--grey")
    sample = [
        "sample",
        out,
        "-n",
        5,
        "--method",
        "hmc",
        "--chains",
        2,
        "--warmup",
        5,
        "--no-progress",
    ]
    call(*sample, "--centroids", 10, "--bandwidth", 1.5, "--regularization", 0.1, "--decay", 0.5)
    assert "K=10, d=3, bandwidth=1.5, regularization=0.1, decay=0.5" in call("info", out)
    assert "--force replaces them" in call(*sample, code=1)
    call(*sample, "--force", "--workers", 1)
    call(
        *sample[:-5],
        "--method",
        "protocol",
        "--decay",
        0,
        "--force",
        "--chains",
        2,
        "--no-progress",
    )
    assert "last states of short chains" in call("diagnose", out)
    call(*sample, "--force")
    printed = call("plot", out)
    assert (out / "figures" / "samples.png").exists()
    assert call("plot", out) == printed  # they are there
    call(*sample[:-1], "--force", "--seed", 1, "--no-progress")
    assert "--force replaces them" in call("plot", out, code=1)


def test_the_same_command_continues_an_interrupted_fit(table, tmp_path, monkeypatch):
    from pyrogeo.vae import VAE

    calls, model = iter(range(10**6)), VAE.model

    def interrupted(self, *args):
        if next(calls) == 7:
            raise KeyboardInterrupt
        return model(self, *args)

    command = [
        "fit",
        table,
        "-o",
        tmp_path / "run",
        "--hidden",
        "8",
        "--epochs",
        6,
        "--no-progress",
    ]
    with monkeypatch.context() as patch:
        patch.setattr(VAE, "model", interrupted)
        assert "the same command continues" in call(*command, code=130)
    assert "interrupted" in call("info", tmp_path / "run")
    assert "begun with another vae" in call(*command, "--beta", 2, code=1)
    done = call(*command)
    assert "6 epochs" in done
    assert call(*command) in done  # it is there
    assert "learning_rate (0.001 then, 0.01 now)" in call(*command, "--learning-rate", 0.01, code=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "nowhere.npy", "-o", "x"], "nowhere.npy is no file or folder"),
        (["fit", "digits", "-o", "x", "--hidden", "a,b"], "expected numbers with commas"),
        (["fit", "digits", "-o", "x", "--network", "gpt"], "network: expected one of mlp, conv"),
        (["fit", "digits", "-o", "x", "--likelihood", "poisson"], "likelihood: expected one of"),
        (["fit", "digits", "-o", "x", "--learning-rate", "-1"], "learning_rate must be positive"),
        (["fit", "digits", "-o", "x", "--network", "conv", "--hidden", "4,4,4,4"], "has none left"),
        (["fit", "{table}", "-o", "x", "--network", "conv"], "needs images"),
        (["fit", "{table}", "-o", "x", "--likelihood", "bernoulli"], "expects values in [0, 1]"),
        (["fit", "digits", "-o", "x", "--recipe", "gan"], "recipe: expected one of ae, rae"),
        (["fit", "digits", "-o", "x", "--recipe", "iwae", "--beta", "2"], "has no option beta"),
        (["fit", "digits", "-o", "x", "--recipe", "vae", "--guide", "full"], "no option guide"),
        (["fit", "digits", "-o", "x", "--recipe", "iwae", "-O", "5"], "expected an option such as"),
        (
            ["fit", "digits", "-o", "x", "--recipe", "vamp", "-O", "pseudo_inputs=9999"],
            "at most as many as there are data",
        ),
        (["fit", "digits", "-o", "x", "-O", "beta=2"], "choose one with --recipe"),
        (["fit", "digits", "-o", "{table}"], "cannot be written"),
        (["fit", "digits", "-o", "{folder}"], "holds something already"),
        (["sample", "nowhere"], "nowhere is not a run folder"),
        (
            ["sample", "{run}", "--force", "--method", "gibbs"],
            "expected one of exact, nuts, hmc, batch",
        ),
        (["sample", "{run}", "--force", "--centroids", "1000"], "1 to 64 centroids"),
        (["sample", "{run}", "--force", "--decay", "0"], "infinite volume"),
        (["diagnose", "nowhere"], "nowhere is not a run folder"),
        (["decode", "nowhere"], "nowhere is not a run folder"),
        (["plot", "nowhere"], "nowhere is not a run folder"),
        (["info", "{folder}"], "is not a run folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_one(
    arguments, message, table, run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    places = {"table": table, "run": run, "folder": table.parent}
    quiet = ["--no-progress"] if arguments[0] in ("fit", "sample") else []
    output = call(*[a.format(**places) for a in arguments], *quiet, code=1)
    assert message in output
    assert len(output.strip().splitlines()) == 1
    assert "Traceback" not in output


def test_a_recipe_from_the_command_line(tmp_path):
    listed = call("recipes").splitlines()
    assert len(listed) == 19
    assert all(len(line.split()) > 5 for line in listed)
    fit = ["fit", "digits", "--epochs", 1, "--hidden", "8", "--latent-dim", 2, "--no-progress"]
    run = tmp_path / "run"
    call(*fit, "-o", run, "--recipe", "vamp", "-O", "pseudo_inputs=12")
    assert Run(run).vae().prior.pseudo_inputs.shape == (12, 1, 8, 8)
    assert '"recipe": "vamp"' in call("info", run)
    deterministic = tmp_path / "rae"
    call(*fit, "-o", deterministic, "--recipe", "rae", "--beta", 0.5)
    assert Run(deterministic).vae().beta == 0.5
    assert "no covariances" in call("sample", deterministic, "--no-progress", code=1)


def test_help_reads_well():
    everything = call("--help")
    for command in (
        "demo",
        "fit",
        "sample",
        "diagnose",
        "decode",
        "plot",
        "report",
        "info",
        "recipes",
    ):
        assert command in everything
        assert "Example" in call(command, "--help")
    assert call("--version").startswith("pyrogeo 0.")
    call("demo", "--latent-dim", 0, code=2)
