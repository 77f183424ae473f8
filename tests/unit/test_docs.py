"""The pages are held to the code: what they name exists, and what exists they name."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from ingest import errors
from ingest.accounts import KEYS, parse_accounts
from ingest.cli.main import INTERRUPTED, mailsluice
from ingest.errors import IngestError
from ingest.events import build
from ingest.events.models import Attachment, EventType, ReceivedData, UnprocessedData
from ingest.events.schema import example_path
from ingest.mime.defects import DefectCode
from ingest.models import Kind, Label
from ingest.oauth import KEYS as OAUTH_KEYS
from ingest.settings import Settings
from workers.app import FAILED, USAGE, configuration

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"\bmailsluice ((?:[a-z]+|--)[^`\n#|]*)")
WORDS = re.compile(r"(?:^|\s)(--[a-z-]+|[a-z]+)(?=[\s;),.:]|$)")


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def section(name: str, heading: str) -> str:
    """The text below a heading, up to the next one of its level or above."""
    level = heading.index(" ")
    _, found, rest = page(name).partition(f"\n{heading}\n")
    assert found, f"{name} has no {heading!r}"
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, without their heads."""
    lines = [line.strip("|\n").split("|") for line in re.findall(r"^\|.*\|$", text, re.MULTILINE)]
    cells = [[cell.strip() for cell in line] for line in lines]
    heads = {at - 1 for at, line in enumerate(cells) if set(line[0]) == {"-"}}
    return [line for at, line in enumerate(cells) if at not in heads and set(line[0]) != {"-"}]


def names(table: list[list[str]]) -> list[str]:
    """What stands in code within the first cells."""
    return [name for first, *_ in table for name in re.findall(r"`([^`]+)`", first)]


def blocks(text: str, kind: str = "") -> list[str]:
    """What stands between fences of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def without_blocks(text: str) -> str:
    """The text but for what stands between fences."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_to_a_file_or_a_heading_leads_somewhere(path: Path) -> None:
    for link in LINK.findall(path.read_text("utf-8")):
        if link.startswith("https://"):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), link


def test_every_setting_stands_in_the_table_with_its_default() -> None:
    settings = Settings()
    wanted: dict[str, str] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if name in {"mime", "pop3"}:
            wanted |= {f"MAILSLUICE_{name}__{key}".upper(): shown(inner) for key, inner in asdict(value).items()}
        else:
            wanted[f"MAILSLUICE_{name}".upper()] = shown(value)
    for name in ("READ_TIMEOUT_S", "DEADLINE_S"):  # set outside of the group
        del wanted[f"MAILSLUICE_POP3__{name}"]
    wanted["MAILSLUICE_LOG_FORMAT"] = "json"  # console on a terminal
    table = rows(section("docs/operations.md", "## Settings"))
    found = {cells[0].strip("`"): re.sub(r"^`([^`]*)`.*", r"\1", cells[2]) for cells in table}
    assert found == wanted


def shown(value: object) -> str:
    """A default as the table writes it."""
    if value is None:
        return "none"
    return "[]" if value == () else f"{value:.15g}" if isinstance(value, float) else str(value)


def test_every_setting_that_a_page_names_exists() -> None:
    known = set(names(rows(section("docs/operations.md", "## Settings")))) | {"MAILSLUICE_CONFIG"}
    for path in PAGES:
        named = re.findall(r"\bMAILSLUICE_[A-Z0-9_]*[A-Z0-9]\b", path.read_text("utf-8"))
        assert set(named) <= known, path.name


def test_every_key_of_the_accounts_file_is_explained() -> None:
    assert sorted(names([row[:1] for row in rows(section("docs/operations.md", "## Accounts file"))])) == sorted(KEYS)


def test_every_key_of_an_oauth_client_is_explained() -> None:
    text = section("docs/operations.md", "## OAuth").partition("| error |")[0]
    assert names([row[:1] for row in rows(text)]) == list(OAUTH_KEYS)


@pytest.mark.parametrize("text", blocks(section("docs/operations.md", "## OAuth"), "toml"))
def test_every_example_of_an_account_with_a_client_is_one(text: str) -> None:
    [account] = parse_accounts(text, "operations.md", None)
    assert account.oauth is not None


def commands(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, f"{path} {name}".strip())
    else:
        yield path, command


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_and_option_that_a_page_names_exists(path: Path) -> None:
    known = dict(commands(mailsluice))
    for line in shown_commands(path.read_text("utf-8")):
        words = WORDS.findall(line)
        if words == ["--help"]:
            continue
        name = next((name for name in known if words[: len(name.split())] == name.split()), None)
        groups = {name.split()[0] for name in known if " " in name}
        assert name is not None or words[:1][0] in groups, line
        if name is not None:
            options = {option for parameter in known[name].params for option in parameter.opts} | {"--help"}
            assert {word for word in words if word.startswith("--")} <= options, line


def shown_commands(text: str) -> Iterator[str]:
    """What follows `mailsluice` in code."""
    for code in [*blocks(text), *re.findall(r"`([^`\n]+)`", without_blocks(text))]:
        for line in code.splitlines():
            if not re.match(r"\d\d:\d\d:\d\d ", line):
                yield from COMMAND.findall(line)


def test_every_command_stands_in_the_readme() -> None:
    table = section("README.md", "## Commands")
    for name, _ in commands(mailsluice):
        assert all(
            f"`{word}`" in table or f"mailsluice {word}" in table or f" {word}`" in table for word in name.split()
        )


def test_the_exit_codes_are_those_of_the_command_and_the_worker() -> None:
    assert [int(row[0]) for row in rows(section("docs/operations.md", "## Exit codes"))] == [
        0,
        FAILED,
        USAGE,
        INTERRUPTED,
    ]


def classes() -> dict[str, type[IngestError]]:
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, IngestError)]
    return {kind.code: kind for kind in found}


def test_every_error_stands_in_both_tables_with_its_answers() -> None:
    answers = {row[0].strip("`"): (row[1], row[2]) for row in rows(section("docs/architecture.md", "## Errors"))}
    assert answers == {code: (kind.fault.value, kind.retry.value) for code, kind in classes().items()}
    assert sorted(names(rows(section("docs/operations.md", "## Error codes")))) == sorted(classes())


def test_every_value_of_celerys_configuration_has_its_reason() -> None:
    given = {
        name for row in rows(section("docs/architecture.md", "## Celery")) for name in re.findall(r"`(\w+)`", row[0])
    }
    assert given == set(configuration(Settings()))


def test_every_kind_of_record_is_explained() -> None:
    assert [row[0] for row in rows(section("docs/architecture.md", "### Ledger"))] == [kind.name for kind in Kind]


def test_every_type_of_event_is_listed_and_shown_by_the_example_that_ships() -> None:
    types = [each.value for each in EventType]
    assert sorted(names(rows(page("docs/events.md").partition("## Around")[0]))) == sorted(types)
    assert blocks(page("docs/events.md"), "json") == [example_path(each).read_text("utf-8") for each in EventType]


def test_the_readmes_event_is_a_cut_of_a_true_one() -> None:
    [text] = blocks(page("README.md"), "json")
    event = json.loads(text)
    assert event["type"] == EventType.RECEIVED
    assert set(event["data"]) <= fields(ReceivedData)


def test_every_field_of_an_event_is_explained() -> None:
    received = names(rows(section("docs/events.md", "## message.received")))
    assert set(received) == fields(ReceivedData) | fields(Attachment)
    unprocessed = section("docs/events.md", "## message.skipped and message.quarantined")
    assert {name for name in fields(UnprocessedData) if f"`{name}`" not in unprocessed} == set()


def fields(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def test_the_defects_are_those_that_the_code_gives() -> None:
    marks = set(re.findall(r'"(event_[a-z]+(?:_[a-z]+)*)"', inspect.getsource(build)))
    listed = names(rows(section("docs/events.md", "## Defects")))
    assert sorted(listed) == sorted([*(code.value for code in DefectCode), *marks])


def test_the_labels_are_those_that_the_code_gives() -> None:
    assert names(rows(section("docs/events.md", "## Labels"))) == [label.value for label in Label]


def test_every_decision_stands_in_the_index() -> None:
    folder = ROOT / "docs/adr"
    listed = dict(re.findall(r"^- \[(\d{4})\]\(\S+\) (.*)$", page("docs/adr/README.md"), re.MULTILINE))
    titles = [path.read_text("utf-8").splitlines()[0] for path in sorted(folder.glob("0*.md"))]
    assert [f"# {number}: {title}" for number, title in listed.items()] == titles
