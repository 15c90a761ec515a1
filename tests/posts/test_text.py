"""Links in posts: what becomes one, where it leads, and that no text becomes anything else."""

from __future__ import annotations

import html
import os
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape
from quart import Quart

from app.posts.service import create_post
from app.posts.text import linked, mentioned_names
from app.posts.words import words
from app.search.queries import query_words
from tests.factories import logged_in, make_user

PEOPLE = {"susan": "susan", "mary.okafor": "mary.okafor", "old": "new", "a_b-": "a_b-"}
LINK = re.compile(r'<a href="([^"]*)"(?: rel="nofollow ugc noopener")?(?: title="[^"]*")?>(.*?)</a>')


def links(text: str) -> list[tuple[str, str]]:
    """Return target and text of each link in `text`."""
    return [
        (html.unescape(href), html.unescape(shown)) for href, shown in LINK.findall(str(linked(text, PEOPLE)))
    ]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("see https://example.com", "https://example.com"),
        ("HTTP://Example.com/A?b=c&d=%20#e", "HTTP://Example.com/A?b=c&d=%20#e"),
        ("(https://example.com/a)", "https://example.com/a"),
        ("https://en.wikipedia.org/wiki/Foo_(bar).", "https://en.wikipedia.org/wiki/Foo_(bar)"),
        ("(see https://example.com/a_(b))", "https://example.com/a_(b)"),
        ("[[https://example.com/x]]", "https://example.com/x"),
        ("https://example.com/((((", "https://example.com/(((("),
        ("https://example.com/))))", "https://example.com/"),
        ("https://example.com, and more", "https://example.com"),
        ('<a href="https://example.com/">', "https://example.com/"),
        ("看https://example.com/路。好", "https://example.com/路"),
        ("http://localhost:8000/x!", "http://localhost:8000/x"),
        ("https://example.com/\u202emoc.live", "https://example.com/"),
        ("https://exam\u200bple.com", "https://exam"),
        ("https://bücher.example/ä", "https://bücher.example/ä"),
        ("https://example.com/@susan#tag", "https://example.com/@susan#tag"),
    ],
)
def test_an_address_is_a_link(text: str, address: str) -> None:
    [(href, shown)] = links(text)
    assert (href, shown) == (address, address.partition("://")[2])
    assert 'rel="nofollow ugc noopener"' in linked(text, PEOPLE)


@pytest.mark.parametrize(
    "text",
    [
        "javascript:alert(1)",
        "javascript://example.com/%0aalert(1)",
        "data:text/html,<script>alert(1)</script>",
        "ftp://example.com",
        "https://",
        "https:///path",
        "http://?",
        "https://good.example@evil.example/",
        "https://user:password@evil.example",
        "https://good.example\\@evil.example",
        "xhttps://example.com",
        "httpſ://example.com",
        "susan@example.com",
        "@nobody",
        "@",
        "@" * 140,
        "#" * 140,
        "@@susan",
        "@susan@example.com",
        "@susané",
        "@" + "susan" * 20,
        "/@susan",
        "#1",
        "##tag",
        "&#39;",
        "a#tag",
        "é#tag",
        "½#tag",
        "#\u200d\u200c",
        "<b>bold</b>",
        "\u202e\u2066@\u200bsusan",
    ],
)
def test_what_is_no_link_stays_text(text: str) -> None:
    assert links(text) == []
    assert escape(linked(text, PEOPLE)) == escape(text)


def test_a_long_address_is_shortened_and_told_whole_in_the_title() -> None:
    address = "https://example.com/" + "a" * 28
    assert (
        linked(address, {}) == f'<a href="{address}" rel="nofollow ugc noopener">example.com/{"a" * 28}</a>'
    )
    address += "b"
    assert linked(address, {}) == (
        f'<a href="{address}" rel="nofollow ugc noopener" title="{address}">example.com/{"a" * 28}…</a>'
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [("@susan", "susan"), ("hello @susan.", "susan"), ("@mary.okafor!", "mary.okafor"), ("(@susan)", "susan"),
     ("@susan...", "susan"), ("你好@susan你好", "susan"), ("@a_b-", "a_b-"), ("-@susan-", "susan"),
     ("@susan's", "susan"), ("@susan\n", "susan"), ("привет,@susan", "susan")],
)  # fmt: skip
def test_a_mention_of_an_account_links_to_its_profile(text: str, name: str) -> None:
    assert links(text) == [(f"/user/{name}", f"@{name}")]
    assert name in mentioned_names(text)


def test_a_mention_leads_to_the_present_name() -> None:
    assert links("@old") == [("/user/new", "@old")]


@pytest.mark.parametrize(
    ("text", "target", "shown"),
    [
        ("#tag", "/search?q=%23tag", "#tag"),
        ("(#tag)", "/search?q=%23tag", "#tag"),
        ("今天#天气，好", "/search?q=%23%E5%A4%A9%E6%B0%94", "#天气"),
        ("#हिन्दी!", "/search?q=%23%E0%A4%B9%E0%A4%BF%E0%A4%A8%E0%A5%8D%E0%A4%A6%E0%A5%80", "#हिन्दी"),
        ("#cre\u0300me", "/search?q=%23cre%CC%80me", "#cre\u0300me"),
        ("#2026_plan", "/search?q=%232026_plan", "#2026_plan"),
        ("#a#b", "/search?q=%23a", "#a"),
    ],
)
def test_a_tag_links_to_its_search(text: str, target: str, shown: str) -> None:
    assert links(text) == [(target, shown)]


class Reader(HTMLParser):
    """Reads markup that may contain nothing but text and our links, and collects the text as typed."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.open, self.target = "", False, ""
        self.feed(markup)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert (tag, self.open) == ("a", False)
        attributes = dict(attrs)
        self.open, self.target = True, attributes.pop("href") or ""
        if re.match("https?://", self.target, re.IGNORECASE):
            assert attributes.pop("rel") == "nofollow ugc noopener"
            assert attributes.pop("title", self.target) == self.target
            self.text += self.target
        else:
            assert self.target.startswith(("/user/", "/search?q=%23"))
        assert not attributes

    def handle_endtag(self, tag: str) -> None:
        assert (tag, self.open) == ("a", True)
        self.open, self.target = False, ""

    def handle_data(self, data: str) -> None:
        if not self.target.lower().startswith("http"):
            self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)


PIECES = [
    "@", "#", "@susan", "@old", "#tag", "http://", "https://", "example.com", "/", "(", ")", "[", "]", "<", ">", "&", '"', "'",
    "javascript:", "\u202e", "\u2066", "\u200d", "\u200b", ".", "-", "_", ":", "?", "\\", "é", "\u0301", "天", "नि", "🏳️‍🌈", " ",
    "\n", "<script>", "&amp;", "</a>", "a", "1", "\u00ad", "ｶ", "ﾞ", "ß", "½",
]  # fmt: skip
texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=60).map(lambda pieces: "".join(pieces)[:140]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=140),
)


fuzzed = settings(
    max_examples=int(os.environ.get("FUZZ", "300")),
    deadline=None,
    derandomize="FUZZ" not in os.environ,
    database=None,
)


@fuzzed
@given(texts)
def test_any_text_is_shown_as_typed(text: str) -> None:
    assert Reader(str(escape(linked(text, PEOPLE)))).text == text


@fuzzed
@given(texts)
def test_every_linked_tag_is_in_the_search_index(text: str) -> None:
    for tag in re.findall(r'href="/search\?q=([^"]+)"', str(escape(linked(text, PEOPLE)))):
        assert set(query_words(unquote(tag))) <= set(words(text))


async def test_mentions_are_checked_when_a_post_is_written(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    david = await make_user("David")
    await create_post(me, "@david @DAVID @Late @nobody @ß")
    await make_user("Late")
    page = (await susan.get("/index")).text
    assert '<a href="/user/David">@david</a> <a href="/user/David">@DAVID</a> @Late @nobody @ß</p>' in page
    assert david


async def test_a_mention_survives_a_new_name_and_goes_with_the_account(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    david, _ = await logged_in(app, "david")
    await create_post(me, "ask @david")
    await david.submit("/edit_profile", username="dave", about_me="")
    assert 'ask <a href="/user/dave">@david</a>' in (await susan.get("/index")).text
    await david.submit("/delete_account", current="correct horse", sure="y")
    assert "ask @david</p>" in (await susan.get("/index")).text


async def test_a_folded_post_has_its_links_too(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    await create_post(me, "\n".join(["@susan"] * 11))
    assert (await susan.get("/index")).text.count('<a href="/user/susan">@susan</a>') == 11
