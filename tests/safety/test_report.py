"""The report in a browser, tables of logs, and the command line."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mcvar import safety
from mcvar.__main__ import main
from mcvar.safety.table import export, import_table
from tests.safety.cases import Distorted, Troubled, proposal_of

CHAIN = safety.GapChain()
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def store(tmp_path):
    campaign = safety.Campaign(
        CHAIN, proposal_of(CHAIN, Distorted(CHAIN)), tmp_path / "log.sqlite", 7
    )
    campaign.run(max_scenarios=300, progress=False)
    campaign.close()
    return tmp_path / "log.sqlite"


def write(store, path):
    assert main(["safety", "report", str(store), str(path)]) == 0
    return path.read_text(encoding="utf-8")


def test_the_report_holds_the_numbers_of_the_log(store, tmp_path):
    text = write(store, tmp_path / "report.html")
    rate = safety.estimate(store)
    low, high = rate.confidence_interval(0.9)
    shown = dict(re.findall(r'<data id="(\w+)" value="([^"]+)">', text))
    assert float(shown["rate"]) == rate.value
    assert (float(shown["low"]), float(shown["high"])) == (low, high)
    assert (int(shown["scenarios"]), int(shown["crashes"])) == (300, rate.crashes)
    assert "http" not in re.sub(r'src="data:[^"]*"', "", text)  # nothing is fetched
    assert text.count("<img") == 2 + 6


def test_what_users_write_is_escaped(tmp_path):
    class Hostile(Troubled):
        version = "<script>alert('x')</script> & co"

        def step(self, action):
            if self._bad:
                raise RuntimeError('<b>bold</b> "quoted" claims')
            return super().step(action)

    campaign = safety.Campaign(Hostile("never", 3), proposal_of(CHAIN), seed=1)
    campaign.run(max_scenarios=30, progress=False)
    campaign.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<b>bold" not in text
    assert "&lt;script&gt;" in text
    assert "failures: " in text


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_report_opens_in_a_browser(store, tmp_path):
    page = tmp_path / "report.html"
    write(store, page)
    probe = (
        "<script>addEventListener('load', () => { document.title = JSON.stringify({"
        "images: [...document.images].map(i => i.complete && i.naturalWidth > 100),"
        "rate: Number(document.getElementById('rate').value),"
        "wide: document.documentElement.scrollWidth - innerWidth}) })</script></body>"
    )
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text(encoding="utf-8").replace("</body>", probe), encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900",
         f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0",
         "--virtual-time-budget=5000", "--dump-dom", probed.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = json.loads(re.search(r"<title>(.*?)</title>", done.stdout).group(1))
    assert found["images"] == [True] * 8
    assert found["rate"] == safety.estimate(store).value
    assert found["wide"] <= 0  # a phone need not scroll sideways
    assert "CONSOLE" not in done.stderr


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_hold_the_whole_log(store, tmp_path, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table, back = tmp_path / f"log.{ending}", tmp_path / "back.sqlite"
    export(store, table)
    import_table(table, back)
    assert safety.estimate(back).summary() == safety.estimate(store).summary()
    campaign = safety.Campaign(CHAIN, proposal_of(CHAIN, Distorted(CHAIN)), back, 7)
    assert campaign.replay(11).same
    with pytest.raises(safety.LogError, match="exists already"):
        import_table(table, back)
    with pytest.raises(ValueError, match="expected a path ending in"):
        export(store, tmp_path / "log.xlsx")


def test_command_line(store, tmp_path, capsys):
    assert main(["safety", "estimate", str(store), "--control", "value", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == safety.estimate(store, "value").summary()
    assert main(["safety", "estimate", str(store)]) == 0
    assert "CrashRate(" in capsys.readouterr().out
    assert main(["safety", "export", str(store), str(tmp_path / "log.csv")]) == 0
    assert main(["safety", "estimate", str(tmp_path / "none.sqlite")]) == 2
    assert "there is no log" in capsys.readouterr().err
    assert main(["safety", "estimate", str(store), "--control", "valu"]) == 2
    assert "did you mean 'value'" in capsys.readouterr().err


def test_run_and_replay_from_the_command_line(tmp_path, capsys):
    store = str(tmp_path / "run.sqlite")
    run = ["safety", "run", "--driver", "sluggish", "--store", store, "--max-scenarios", "60"]
    assert main([*run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scenarios"] == 60
    assert main(["safety", "replay", store, "17", "--driver", "sluggish"]) == 0
    assert "the same as in the log" in capsys.readouterr().out
    assert main(["safety", "replay", store, "17", "--driver", "brisk"]) == 2
    assert "another campaign" in capsys.readouterr().err


def test_figures_are_images_of_their_own(store, tmp_path):
    text = write(store, tmp_path / "report.html")
    data = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', text)
    assert all(b"<svg" in base64.b64decode(part) for part in data)
    assert write(store, tmp_path / "again.html") == text
    assert Path(tmp_path / "again.html").stat().st_size < 1_500_000
