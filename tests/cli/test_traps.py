"""Does every check see its trap on a made-up installation, and stay quiet on a good one?"""

from __future__ import annotations

import json

import pytest

from unicon.cli import doctor, traps
from unicon.cli import main as cli
from unicon.extras import install_command


@pytest.fixture
def site(tmp_path):
    return tmp_path


def install(site, name, version="1.0", requires=(), files=()):
    """Write the metadata of a distribution into the folder `site`."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    lines = [f"Requires-Dist: {each}" for each in requires]
    (folder / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines])
    )
    (folder / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def found(site):
    return traps.installed([str(site)])


def test_what_an_interrupted_installation_left_is_no_distribution(site):
    install(site, "torch")
    (site / "~orch-2.0.dist-info").mkdir()
    assert list(found(site)) == ["torch"]


@pytest.mark.parametrize(
    "torch, torchvision, requires, status",
    [
        ("2.13.0+cpu", "0.28.0", [], "trap"),
        ("2.13.0", "0.28.0+cpu", [], "trap"),
        ("2.13.0", "0.27.0", ["torch==2.12.0"], "trap"),
        ("2.13.0+cpu", "0.28.0+cpu", ["torch (==2.13.0)"], "ok"),
        ("2.13.0", "0.28.0", ["torch==2.13.0"], "ok"),
        ("2.13.0+cu126", "0.28.0+cu126", [], "ok"),
    ],
)
def test_torchvision_built_for_another_torch(site, torch, torchvision, requires, status):
    install(site, "torch", torch)
    install(site, "torchvision", torchvision, requires)
    finding = traps.torchvision(found(site), platform="linux")
    assert finding.status == status
    assert finding.remedy == ("pip uninstall -y torchvision" if status == "trap" else None)


def test_torchvision_untagged_is_a_cpu_build_off_linux(site):
    install(site, "torch", "2.13.0+cpu")
    install(site, "torchvision", "0.28.0")
    assert traps.torchvision(found(site), platform="win32").status == "ok"


def test_no_torchvision_is_well(site):
    assert traps.torchvision(found(site), platform="linux").status == "ok"


@pytest.mark.parametrize(
    "builds, remedy",
    [
        (["opencv-python-headless"], None),
        ([], "pip install opencv-python-headless"),
        (
            ["opencv_python", "opencv-python-headless"],
            "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless",
        ),
    ],
)
def test_opencv_has_one_build(site, builds, remedy):
    for build in builds:
        install(site, build)
    assert traps.opencv(found(site)).remedy == remedy


def test_another_distribution_installs_our_name(site):
    install(site, "adapters", files=["adapters/__init__.py", "adapters/heads.py"])
    install(site, "harmless", files=["harmless/train/__init__.py"])
    install(site, "unicon-diffusion", files=["adapters/__init__.py", "train/__init__.py"])
    (finding,) = traps.overwritten(found(site))
    assert finding.text == "adapters installs adapters as well"
    assert finding.remedy.startswith("pip uninstall -y adapters && pip install --force-reinstall --no-deps ")


def test_foreign_files_on_the_path_and_in_the_current_folder(site):
    (site / "train.py").touch()
    (trap,) = traps.shadowed([str(site)], folder=site / "elsewhere", pythonpath=["elsewhere", str(site)])
    assert (trap.status, trap.remedy) == ("trap", "unset PYTHONPATH")
    (trap,) = traps.shadowed([str(site)], folder=site / "elsewhere")
    assert (trap.status, trap.remedy) == ("trap", None)
    assert trap.text.endswith(": rename or remove it")
    (note,) = traps.shadowed([], folder=site)
    assert (note.status, note.remedy) == ("note", "unicon train")
    assert str(site / "train.py") in note.text
    (site / "train.py").rename(site / "adapters.py")
    (note,) = traps.shadowed([], folder=site)
    assert (note.status, note.remedy) == ("note", None)


def test_a_checkout_does_not_shadow_itself():
    assert list(traps.shadowed([str(traps.ROOT)], folder=traps.ROOT)) == []


def test_extras_that_are_not_complete(site):
    requires = ["numpy>=1", 'controlnet_aux>=0.0.10; extra == "annotators"', 'scipy; extra == "eval"']
    install(site, "unicon-diffusion", requires=requires)
    install(site, "scipy")
    (finding,) = traps.missing_extras(found(site))
    assert finding.text == "annotators: controlnet-aux not installed"
    assert finding.remedy == install_command("annotators")


def test_torchvision_is_installed_from_where_torch_came(site):
    install(site, "torch", "2.13.0+cpu")
    install(site, "unicon-diffusion", requires=['controlnet_aux>=0.0.10; extra == "annotators"'])
    ours = "pip install torchvision --index-url https://download.pytorch.org/whl/cpu"
    (finding,) = traps.missing_extras(found(site))
    assert finding.remedy == f"{ours} && {install_command('annotators')}"
    assert f"timm && {ours} && " in traps.annotators(ImportError("no"), found(site)).remedy
    install(site, "torchvision", "0.28.0")
    install(site, "controlnet-aux")
    assert (
        traps.torchvision(found(site), platform="linux").remedy == f"pip uninstall -y torchvision && {ours}"
    )


def test_a_checkout_that_is_not_installed(site):
    (finding,) = traps.missing_extras(found(site))
    assert finding.remedy == f"pip install -e {traps.ROOT}"


def test_cache_that_cannot_be_written(tmp_path):
    assert traps.cache_folder(tmp_path / "new" / "hub").status == "ok"
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    finding = traps.cache_folder(tmp_path / "file" / "hub")
    assert finding.status == "trap"
    assert finding.remedy == 'export HF_HOME="$PWD/huggingface" HF_HUB_CACHE="$PWD/huggingface/hub"'


def test_slow_bfloat16_is_noted():
    assert traps.half_precision(4.0, worthwhile=1.2).status == "ok"
    slow = traps.half_precision(0.0061, worthwhile=1.2)
    assert (slow.status, slow.remedy) == ("note", None)  # there is nothing to mend
    assert "0.0061 times as fast as float32" in slow.text


@pytest.mark.parametrize(
    "name, nvidia, status", [("H100", True, "ok"), (None, True, "trap"), (None, False, "note")]
)
def test_accelerator(name, nvidia, status):
    finding = traps.accelerator(name, nvidia=nvidia)
    assert (finding.status, finding.remedy is None) == (status, status != "trap")


def test_libraries_that_do_not_import_show_the_first_cause():
    error = RuntimeError("Could not import module 'BloomPreTrainedModel'")
    error.__cause__ = RuntimeError("operator torchvision::nms does not exist")
    assert "torchvision::nms" in traps.libraries(error).text
    assert traps.libraries(error).remedy == "pip uninstall -y torchvision"
    assert traps.libraries(ImportError()).remedy.startswith(
        "pip install --upgrade --force-reinstall diffusers "
    )
    assert traps.libraries(None).status == "ok"


def test_detectors_that_do_not_import_are_a_trap():
    assert traps.annotators(None, {}).status == "ok"
    finding = traps.annotators(ImportError("cannot import name 'gaussian_filter'"), {})
    assert finding.status == "trap"
    assert "gaussian_filter" in finding.text
    assert "[annotators]" in finding.remedy


def test_import_error_is_caught_whatever_it_is(tmp_path, monkeypatch):
    (tmp_path / "broken_library.py").write_text("raise RuntimeError('half an installation')")
    monkeypatch.syspath_prepend(tmp_path)
    assert str(doctor.import_error("broken_library")) == "half an installation"
    assert doctor.import_error("json") is None
    assert isinstance(doctor.import_error("json", "dumps"), TypeError)


def test_processor_flags(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags\t\t: fpu avx2 amx_bf16\n")
    assert doctor.processor_flags(tmp_path / "cpuinfo") == {"fpu", "avx2", "amx_bf16"}
    assert doctor.processor_flags(tmp_path / "none") == frozenset()


@pytest.mark.filterwarnings("default")
def test_doctor_reports_this_installation(capsys):
    code = cli.main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    traps_sprung = [finding for finding in report["findings"] if finding["status"] == "trap"]
    assert code == int(bool(traps_sprung))
    assert report["versions"]["torch"]
    assert {"opencv", "torchvision", "libraries", "cache", "accelerator", "bfloat16"} <= {
        finding["name"] for finding in report["findings"]
    }


def test_doctor_prints_the_remedy_under_the_finding(capsys):
    trap = traps.Finding(name="opencv", status="trap", text="two builds", remedy="pip uninstall one")
    doctor.print_report({"python": "3"}, {"torch": "2"}, [trap])
    assert " TRAP  opencv: two builds\n       pip uninstall one\n" in capsys.readouterr().out
