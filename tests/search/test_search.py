"""The search page: what is found, in which order, and how bad input is answered."""

from __future__ import annotations

import random
import re
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from quart import Quart
from sqlalchemy import delete, text

from app.database import writing
from app.posts.models import Post
from app.posts.service import create_post
from app.posts.words import is_sign, words
from app.search import queries
from app.web.paging import MAX_ID, PageCursor
from tests.clients import Page, Visitor, bodies
from tests.factories import logged_in, make_post, make_user
from tests.inspection import READS, statements_of

PERSON = re.compile(r'<a id="person-[^"]*" href="[^"]*" dir="auto">(.*?)</a>')
BOX = re.compile(r'<input type="search"[^>]*? value="([^"]*)"')


@pytest.fixture
async def susan(app: Quart) -> Visitor:
    return (await logged_in(app, "susan"))[0]


async def search(visitor: Visitor, query: str, more: str = "") -> Page:
    return await visitor.get(f"/search?q={quote(query)}{more}")


async def post(*texts: str) -> list[int]:
    author = await make_user("author")
    return [await make_post(author, body, minute=minute) for minute, body in enumerate(texts)]


async def test_posts_with_all_words_are_found_newest_first(app: Quart, susan: Visitor) -> None:
    await post("red apple", "green apple", "Red, RED: äpple!", "red")
    page = await search(susan, "apple RED")
    assert bodies(page) == ["Red, RED: äpple!", "red apple"]
    assert page.title == "Search - Microblog"
    assert "<h1>Search Results</h1>" in page.text
    assert BOX.findall(page.text) == ["apple RED"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("creme", ["Crème"]),
        ("CRÈME", ["Crème"]),
        ("strasse", ["Straße"]),
        ("еж", ["Ёж"]),
        ("#tag", ["a #Tag"]),
        ("tag", ["a tag", "a #Tag"]),
        ("你好", ["你好世界"]),
        ("好", ["你好世界"]),
        ("界", ["你好世界"]),
        ("世", ["你好世界"]),
        ("好世", ["你好世界"]),
        ("你世", []),
        ("好你", []),
        ("ta", []),
    ],
)
async def test_words_are_compared_without_case_and_accents(
    app: Quart, susan: Visitor, query: str, expected: list[str]
) -> None:
    await post("Crème", "Straße", "Ёж", "a #Tag", "a tag", "你好世界")
    page = await search(susan, query)
    assert bodies(page) == expected
    assert (f"No posts match “{query}”." in page.text) == (not expected)


async def test_every_tag_link_finds_its_post(app: Quart, susan: Visitor) -> None:
    tags = [
        "#foo_bar",
        "#Crème",
        "#e\u0301t\u00e9",
        "#Straße",
        "#你好世界",
        "今天#好！",
        "#流れ星",
        "#ё",
        "#2026年",
        "#می\u200cخواهم",
        "#हिन्दी",
        "(#İ)",
    ]
    await post(*tags)
    page = await susan.get("/explore")
    hrefs = dict(zip(bodies(page), re.findall(r'<a href="(/search[?]q=[^"]+)">', page.text), strict=True))
    assert hrefs.keys() == set(tags)
    for tag, href in hrefs.items():
        assert tag in bodies(await susan.get(unescape(href)))


async def test_nothing_found_is_said_with_the_query(app: Quart, susan: Visitor) -> None:
    page = await search(susan, "<b>nothing</b>")
    assert "No posts match “&lt;b&gt;nothing&lt;/b&gt;”." in page.text


@pytest.mark.parametrize("address", ["/search", "/search?q=", "/search?q=%20%0a%e3%80%80", "/search?p=a"])
async def test_a_blank_query_leads_to_explore(app: Quart, susan: Visitor, address: str) -> None:
    page = await susan.get(address)
    assert (page.status, page.location) == (302, "/explore")


@pytest.mark.parametrize("query", ["!?", "\N{PARTY POPPER}" * 200, '"', "%", "'", "\0", "_ * ^"])
async def test_a_query_without_a_word_says_what_to_do(app: Quart, susan: Visitor, query: str) -> None:
    page = await search(susan, query)
    assert page.status == 200
    assert "Type a word to search for." in page.text
    assert unescape(BOX.findall(page.text)[0]) == query.replace("\0", "\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize(
    "query",
    ["%alpha%", "alpha\\", "alp\u00adha", "\u202ealpha\u202c", "alpha " + "\N{PARTY POPPER}" * 190, "álpha*"],
)
async def test_what_surrounds_a_word_is_ignored(app: Quart, susan: Visitor, query: str) -> None:
    await post("alpha", "beta")
    assert bodies(await search(susan, query)) == ["alpha"]


@pytest.mark.parametrize(
    "query",
    [
        'alpha" OR "beta',
        "alpha AND NOT beta",
        "NEAR(alpha beta, 5)",
        "alpha & !beta | (beta:*)",
        "-alpha +beta",
        "alpha* ^beta words:alpha {words}:beta",
        "alpha'; DROP TABLE post; --",
        "alpha\0beta",
        "alpha_beta",
        "alph",
        "a%",
        "z\u0301" * 100,
        "x" * 200,
        "\ufdfa" * 200,
        "好" * 200,
        "ß" * 200,
        "\U00020000" * 200,
        " ".join("abcdefghijklmnopqrstuvwxyz"),
    ],
)
async def test_operators_are_words_and_no_query_is_an_error(app: Quart, susan: Visitor, query: str) -> None:
    await post("alpha", "beta")
    assert bodies(await search(susan, query)) == []


async def test_invalid_utf_8_in_a_query_is_no_error(app: Quart, susan: Visitor) -> None:
    assert (await susan.get("/search?q=%ff%fe")).status == 200
    assert (await susan.get("/search?q=%ed%a0%80a")).status == 200


async def test_the_first_ten_different_words_count(app: Quart, susan: Visitor) -> None:
    ten = "#a #b #c #d #e #f #g #h #i #j"
    await post(ten)
    assert bodies(await search(susan, f"{ten} {ten} missing")) == [ten]
    assert bodies(await search(susan, f"missing {ten}")) == []


async def test_a_query_that_is_too_long_is_not_cut_but_refused(app: Quart, susan: Visitor) -> None:
    page = await search(susan, "x" * 203)
    assert "Too long by 3: at most 200 characters." in page.text


class TestPaging:
    @pytest.fixture
    def config(self, config: dict[str, Any]) -> dict[str, Any]:
        return config | {"POSTS_PER_PAGE": 3}

    async def test_pages_reach_every_post_once_in_both_directions(self, app: Quart, susan: Visitor) -> None:
        await post(*(f"word {number}" if number % 2 else f"other {number}" for number in range(16)))
        expected = [f"word {number}" for number in (15, 13, 11, 9, 7, 5, 3, 1)]
        pages = await susan.walk(f"/search?q={quote('wörd')}")
        assert [body for page in pages for body in bodies(page)] == expected
        assert "Older posts" in pages[0].text
        pages += await susan.walk(pages[-1].paging["prev"], "prev")
        assert [bodies(page) for page in pages[3:]] == [bodies(page) for page in pages[1::-1]]
        assert {BOX.findall(page.text)[0] for page in pages} == {"wörd"}

    async def test_a_position_in_the_middle_of_deleted_posts_works(self, app: Quart, susan: Visitor) -> None:
        ids = await post(*(f"word {number}" for number in range(7)))
        older = (await search(susan, "word")).paging["next"]
        async with writing() as session:
            await session.execute(delete(Post).where(Post.id.in_(ids[3:5])))
        assert bodies(await susan.get(older)) == ["word 2", "word 1", "word 0"]

    @pytest.mark.parametrize(
        "position",
        [
            "&before=nonsense",
            "&after=",
            "&before=%00",
            "&before=" + "A" * 90,
            "&before=MjAyNi0xMS0yMCAxMjowMDowMC4wMDAwMDB-OTIyMzM3MjAzNjg1NDc3NTgwNw",  # the largest id
            "&after=MjAyNi0xMS0yMCAxMjowMDowMC4wMDAwMDB-OTIyMzM3MjAzNjg1NDc3NTgwNw",
            "&before=MjAyNi0xMS0yMCAxMjowMDowMC4wMDAwMDB-MA",  # id 0
        ],
    )
    async def test_a_made_up_position_shows_the_first_page(
        self, app: Quart, susan: Visitor, position: str
    ) -> None:
        await post(*(f"word {number}" for number in range(5)))
        assert bodies(await search(susan, "word", position)) == ["word 4", "word 3", "word 2"]


class TestPages:
    """Pages equal those that a plain search in Python finds."""

    SIZE = 3
    QUERIES = (
        "often",
        "often half",
        "half #old",
        "old",
        "new",
        "once",
        "never",
        "odd even",
        "春",
        "旧 often",
    )

    def text(self, number: int, chance: random.Random) -> str:
        parts = ["odd" if number % 2 else "even"]
        parts += ["often"] * (chance.random() < 0.8) + ["half"] * (chance.random() < 0.5)
        parts += ["#old", chance.choice(("旧", "旧年"))] if 10 < number < 20 else []
        parts += ["new"] * (number > 35) + ["once"] * (number == 15) + ["春天"] * (number % 9 == 0)
        return " ".join(parts)

    async def fill(self, chance: random.Random) -> dict[int, set[str]]:
        """Store posts, delete some, and return the indexed words of the others by their ids, newest first."""
        texts = [self.text(number, chance) for number in range(40)]
        stored = dict(zip(await post(*texts), texts, strict=True))
        gone = chance.sample(sorted(stored), 4)
        async with writing() as session:
            await session.execute(delete(Post).where(Post.id.in_(gone)))
        return {id_: set(words(stored[id_])) for id_ in sorted(stored, reverse=True) if id_ not in gone}

    def expected(self, ids: list[int], cursor: PageCursor | None) -> tuple[list[int], bool, bool]:
        """Return the ids on a page, and whether there are newer and older posts; `ids`: of all matches."""
        if cursor and cursor.newer:
            newer = [id_ for id_ in ids if id_ > cursor.id]
            if len(newer) >= self.SIZE:
                return newer[-self.SIZE :], len(newer) > self.SIZE, True
        elif cursor:
            older = [id_ for id_ in ids if id_ < cursor.id]
            if older:
                return older[: self.SIZE], True, len(older) > self.SIZE
        return ids[: self.SIZE], False, len(ids) > self.SIZE

    @pytest.mark.parametrize("scanned", [2, 5000])
    async def test_every_page_equals_that_of_a_plain_search(
        self, app: Quart, scanned: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(queries, "POSTS", queries.post_queries(scanned))
        indexed = await self.fill(random.Random(scanned))
        positions = [0, *range(min(indexed) - 1, max(indexed) + 2, 3), MAX_ID]
        cursors = [None, *(PageCursor("", id_, newer) for id_ in positions for newer in (False, True))]
        for query in self.QUERIES:
            wanted = queries.query_words(query)
            ids = [
                id_
                for id_, its in indexed.items()
                if all(
                    any(w == word or (is_sign(word) and w.startswith(word)) for w in its) for word in wanted
                )
            ]
            for cursor in cursors:
                page = await queries.posts_with(wanted, cursor, self.SIZE)
                shown = [row.id for row in page.rows], bool(page.newer), bool(page.older)
                assert shown == self.expected(ids, cursor), (query, cursor)


class TestPeople:
    async def people(self, visitor: Visitor, query: str) -> list[str]:
        return [unescape(name) for name in PERSON.findall((await search(visitor, query)).text)]

    async def test_up_to_five_people_whose_names_begin_with_the_word(
        self, app: Quart, susan: Visitor
    ) -> None:
        for name in ("Ann", "anna", "annabel", "anne.b", "anne-c", "annette", "bann", "anx"):
            await make_user(name)
        assert await self.people(susan, "ANN") == ["Ann", "anna", "annabel", "anne-c", "anne.b"]
        assert await self.people(susan, "@anne.") == ["anne.b"]
        assert await self.people(susan, "ann bann") == []
        assert await self.people(susan, "%") == []
        assert await self.people(susan, "a_n") == []

    async def test_they_are_on_the_first_page_only(self, app: Quart, susan: Visitor) -> None:
        await post("susan", "susan")
        assert await self.people(susan, "susan") == ["susan"]
        position = "&before=MjAyNi0xMS0yMCAxMjowMDowMC4wMDAwMDB-Mg"
        page = await search(susan, "susan", position)
        assert PERSON.findall(page.text) == []
        assert len(bodies(page)) == 1


async def test_strangers_log_in_first_and_come_back(app: Quart) -> None:
    page = await Visitor(app).get("/search?q=%23tag")
    assert page.location == "/login?next=/search?q%3D%2523tag"


async def test_other_methods_are_refused(app: Quart, susan: Visitor) -> None:
    assert (await susan.post("/search", q="a")).status == 405


async def test_a_page_reads_little_and_writes_nothing(app: Quart, susan: Visitor) -> None:
    await post(*(f"susan {number}" for number in range(30)))
    page, statements = await statements_of(susan, "/search?q=susan")
    assert page.status == 200
    assert 0 < len(statements) <= 3
    assert all(sql.upper().startswith(READS) for sql in statements)


async def test_a_query_is_in_no_log(app: Quart, susan: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")  # as the site logs; drivers show parameters at DEBUG
    assert (await search(susan, "confidential secret")).status == 200
    assert (await search(susan, "confidential", "&before=x")).status == 200
    assert "confidential" not in caplog.text


class TestLimit:
    @pytest.fixture
    def config(self, config: dict[str, Any]) -> dict[str, Any]:
        return config | {"RATELIMIT_ENABLED": True}

    async def test_sixty_searches_a_minute(self, app: Quart, susan: Visitor) -> None:
        for _ in range(60):
            assert (await search(susan, "a")).status == 200
        page = await search(susan, "kept")
        assert page.status == 429
        assert re.search(r"You are searching too fast. Please try again in \d+ seconds?\.", page.text)
        assert 0 < int(page.response.headers["Retry-After"]) <= 60
        assert BOX.findall(page.text) == ["kept"]


class TestIndex:
    """The index follows what happens to posts."""

    async def test_a_new_post_is_found_at_once(self, app: Quart, susan: Visitor) -> None:
        await susan.submit("/index", post="Fresh news")
        assert bodies(await search(susan, "fresh")) == ["Fresh news"]

    async def test_a_post_that_is_not_stored_is_not_indexed(self, app: Quart) -> None:
        with pytest.raises(LookupError):
            await create_post(4711, "hello")
        assert await self.entries() == 0

    async def test_deleting_posts_or_their_author_removes_the_words(self, app: Quart, susan: Visitor) -> None:
        [first, _] = await post("one word", "two words")
        await susan.submit("/index", post="my word")
        async with writing() as session:
            await session.execute(delete(Post).where(Post.id == first))
        assert bodies(await search(susan, "word")) == ["my word"]
        await susan.submit("/delete_account", current="correct horse", sure="y")
        assert await self.entries() == 1

    async def entries(self) -> int:
        async with writing() as session:
            return int(await session.scalar(text("SELECT count(*) FROM post_search")) or 0)
