"""The report is one page that needs nothing else: every table, plot and verdict of the folder, and the commands that made them."""

import re
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from simulations import report, sweep
from simulations.experiments import EXPERIMENTS
from simulations.experiments.command import write
from simulations.experiments.result import Limit, Plot, Result, Series, Settings, Table


class Outline(HTMLParser):
    """Collects what a page is made of, and finds tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def a_folder(tmp_path: Path) -> Path:
    table = Table(
        name="loss_rates", title="Rates", columns=("mode <b>", "p99.9"), rows=(("SWIM & co", 1234.56), ("x", None))
    )
    plot = Plot(
        name="loss_rates",
        title="Rates",
        x_label="x",
        y_label="y",
        series=(Series(label="ours", x=[1, 2], y=[1, 2]),),
        limits=(Limit(label="theirs", y=(1.0,)),),
    )
    write(Result(tables=(table,), plots=(plot,), verdicts=()), tmp_path)
    verdicts = "a: reproduced (ours 1, wanted 1)\nb: NOT reproduced: ours 2, wanted 1\n"
    (tmp_path / "uniform-loss.txt").write_text(verdicts, encoding="utf-8")
    return tmp_path


def test_the_page_holds_tables_plots_and_verdicts_and_needs_nothing_else(tmp_path: Path) -> None:
    page = report.page(a_folder(tmp_path))
    outline = Outline(page)
    assert outline.open == []
    assert "script" not in outline.tags
    assert all(source.startswith(("data:image/svg+xml;base64,", "#")) for source in outline.sources)
    assert {"table", "img", "details"} <= set(outline.tags)
    assert "<th class=text>mode &lt;b&gt;</th>" in page
    assert "<td class=text>SWIM &amp; co</td><td>1,235</td>" in page
    assert '<li class="bad">b: NOT reproduced' in page
    assert "(1 of 2 goals met)" in page


def test_each_table_and_plot_says_the_command_that_made_it(tmp_path: Path) -> None:
    page = report.page(a_folder(tmp_path))
    for file in ("loss_rates.csv", "loss_rates.svg"):
        assert f"{file}, by <code>python -m simulations experiment uniform-loss</code>" in page
    assert "Not run: lifeguard" in page


def test_the_command_is_the_one_that_the_text_tells(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    text = (folder / "uniform-loss.txt").read_text(encoding="utf-8")
    told = "made by python -m simulations experiment uniform-loss --seeds 3\n\n" + text
    (folder / "uniform-loss.txt").write_text(told, encoding="utf-8")
    (folder / "reality.txt").write_text("measured: reproduced (ours 1, wanted 1)\n", encoding="utf-8")
    page = report.page(folder)
    assert "loss_rates.csv, by <code>python -m simulations experiment uniform-loss --seeds 3</code>" in page
    assert '<h2 id="reality">Reality</h2>' in page
    assert "<code>python -m simulations reality</code>" in page


def test_a_budget_runs_every_experiment_and_a_sweep_and_then_writes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def perform(name: str, settings: Settings) -> list[Path]:
        ran.append(name + settings.flags())
        a_folder(settings.out)
        return []

    monkeypatch.setattr(report, "perform", perform)
    context = {"ignore_unknown_options": True, "allow_extra_args": True}
    swept = click.Command("sweep", callback=lambda: ran.append("sweep"), context_settings=context)
    monkeypatch.setattr(sweep, "command", swept)
    outcome = CliRunner().invoke(report.command, ["--budget", "short", "--out", str(tmp_path)])
    assert outcome.exit_code == 0, outcome.output
    assert ran == [*(f"{name} --short" for name in EXPERIMENTS), "sweep"]
    assert (tmp_path / "report.html").is_file()


def test_files_go_to_the_experiment_whose_word_they_begin_with(tmp_path: Path) -> None:
    for name in ("first_detection", "load_bytes", "loss_joins", "sweep"):
        (tmp_path / f"{name}.csv").touch()
    owners = {name: [path.stem for path in report._files(name, tmp_path, ".csv")] for name in [*EXPERIMENTS, "sweep"]}
    assert {name: of for name, of in owners.items() if of} == {
        "first-detection": ["first_detection"],
        "load": ["load_bytes"],
        "uniform-loss": ["loss_joins"],
        "sweep": ["sweep"],
    }


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run python -m simulations experiment"):
        report.page(tmp_path)
    refused = CliRunner().invoke(report.command, ["--out", str(tmp_path / "nowhere")])
    assert refused.exit_code == 2
    assert "holds no results" in refused.output


def test_a_page_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (a_folder(tmp_path) / "report.html").mkdir()
    refused = CliRunner().invoke(report.command, ["--out", str(tmp_path)])
    assert refused.exit_code == 2
    assert "report.html: Is a directory" in refused.output


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    group = click.Group()
    report.register(group)
    outcome = CliRunner().invoke(group, ["report", "--out", str(a_folder(tmp_path))])
    assert outcome.exit_code == 0, outcome.output
    assert re.search(r"report\.html, [\d,]+ characters", outcome.output)
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
