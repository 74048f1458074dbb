"""The generated reference pages say what the program does now."""

import tomllib

from gossipd.cli import keys
from gossipd.cli.settings import Sources, load
from tests import docgen


def test_the_reference_pages_are_up_to_date() -> None:
    assert docgen.outdated() == [], "run: python -m tests.docgen --write"


def test_every_setting_has_a_text_and_a_default() -> None:
    page = docgen.config_page()
    for setting in keys.TOP:
        assert setting.help.endswith("."), setting.key
        assert f"### {setting.key}\n" in page
    for setting in keys.PROTOCOL:
        assert f"| `{setting.key.partition('.')[2]}` |" in page


def test_the_example_file_on_the_page_is_right_but_for_its_keyring() -> None:
    text = docgen.CONFIG_HEAD.partition("```toml\n")[2].partition("```")[0]
    values = tomllib.loads(text)
    del values["keyring"]
    flags = {"join": values["join"], "profile": values["profile"], "probe.interval_s": values["probe"]["interval_s"]}
    assert load(Sources(flags=flags)).config.join == ("gossip.example.org",)
