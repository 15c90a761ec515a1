"""Lists of people: followers, following, and people to follow."""

from __future__ import annotations

import re
from html import unescape

import pytest
from quart import Quart

from app.accounts.names import people_path
from app.posts import people
from tests.clients import Page, Visitor
from tests.factories import logged_in, make_follow, make_post, make_user

NAME = re.compile(r'<a id="(?:person|suggested)-\d+" href="[^"]*" dir="auto">(.*?)</a>')
BUTTON = re.compile(r'formaction="([^"]+)" name="next" value="([^"]+)"[^>]*>(\w+)<')


def names(page: Page) -> list[str]:
    return [
        unescape(name) for name in NAME.findall(page.text.partition("<aside")[0]) or NAME.findall(page.text)
    ]


async def test_followers_and_following_are_listed_newest_first(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    david, mary = await make_user("david", about_me="I like <tea>."), await make_user("Mary")
    await make_follow(me, david)
    await make_follow(david, me, mary)
    await make_follow(mary, david)
    page = await susan.get("/user/DAVID/followers")
    assert (page.title, names(page)) == ("Followers of david - Microblog", ["Mary", "susan"])
    assert [text for _, _, text in BUTTON.findall(page.text)] == ["Follow"]  # none for oneself
    page = await susan.get("/user/david/following")
    assert (page.title, names(page)) == ("People david follows - Microblog", ["Mary", "susan"])
    page = await susan.get("/user/Mary/following")
    assert "I like &lt;tea&gt;." in page.text
    assert [text for _, _, text in BUTTON.findall(page.text)] == ["Unfollow"]
    profile = await susan.get("/user/david")
    assert (
        '<a href="/user/david/followers">2 followers</a> <a href="/user/david/following">2 following</a>'
        in profile.text
    )
    page = await susan.get("/user/susan/followers")
    assert names(page) == ["david"]
    await susan.submit("/unfollow/david", page="/index")
    assert "susan does not follow anybody yet." in (await susan.get("/user/susan/following")).text
    assert "Nobody follows Mary yet." not in (await susan.get("/user/Mary/followers")).text


async def test_lists_have_25_people_a_page(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    ids = [await make_user(f"person{number}") for number in range(60)]
    for each in ids:
        await make_follow(each, me)
    expected = [f"person{number}" for number in reversed(range(60))]
    seen, path = [], "/user/susan/followers"
    for size in (25, 25, 10):
        page = await susan.get(path)
        assert len(names(page)) == size
        seen += names(page)
        older = re.search(r'rel="next" href="([^"]+)"', page.text)
        path = unescape(older[1]) if older else ""
    assert (seen, path) == (expected, "")
    newer = re.search(r'rel="prev" href="([^"]+)"', page.text)
    assert newer is not None
    assert names(await susan.get(unescape(newer[1]))) == expected[25:50]
    for made_up in ("before=x", "after=MDAwMS0wMS0wMX45OTk5OTk", "before=%00", "before=MjAyNi0xMS0yMH4tMQ"):
        assert names(await susan.get(f"/user/susan/followers?{made_up}"))[:1] == ["person59"]


async def test_a_button_comes_back_to_its_place(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    for number in range(30):
        await make_follow(await make_user(f"person{number}"), me)
    older = re.search(r'rel="next" href="([^"]+)"', (await susan.get("/user/susan/followers")).text)
    assert older is not None
    page = await susan.get(unescape(older[1]))
    path, place, text = BUTTON.findall(page.text)[1]
    assert (path, text) == ("/follow/person3", "Follow")
    assert place.startswith("/user/susan/followers?before=")
    answer = await susan.post(path, csrf_token=page.token, next=unescape(place))
    assert answer.location == unescape(place)
    page = await susan.get(place.partition("#")[0])
    assert page.flashes == ["You are following person3!"]
    assert BUTTON.findall(page.text)[1] == ("/unfollow/person3", place, "Unfollow")


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil", "", "x"])
async def test_a_button_leads_nowhere_else(app: Quart, target: str) -> None:
    susan, _ = await logged_in(app, "susan")
    await make_user("david")
    page = await susan.submit("/follow/david", page="/index", next=target)
    assert page.location == "/user/david"


ODD = ["a/b", "..", "a/followers", "followers", "-", "a//b", "50%", "<i>", "following/following"]


async def test_unusual_names_have_lists(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    for number, name in enumerate(ODD):
        await make_follow(me, await make_user(name, email=f"odd{number}@example.com"))
        page = await susan.get(people_path(name, "followers"))
        assert page.title == f"Followers of {name} - Microblog"
        assert names(page) == ["susan"]
    assert names(await susan.get("/user/susan/following")) == ODD[::-1]


@pytest.mark.parametrize("which", ["followers", "following"])
async def test_unknown_people_have_no_lists_and_strangers_log_in(app: Quart, which: str) -> None:
    susan, _ = await logged_in(app, "susan")
    for name in ("nobody", "%00", "x" * 5000, "-"):
        assert (await susan.get(f"/user/{name}/{which}")).status == 404
    assert (await susan.get(f"/user/-/{which}?name=%00")).status == 404
    page = await Visitor(app).get(f"/user/susan/{which}")
    assert page.location == f"/login?next=/user/susan/{which}"


async def test_an_empty_home_page_offers_five_people_and_the_post_box(app: Quart) -> None:
    await make_user("quiet")
    for number in range(6):
        await make_post(await make_user(f"author{number}"), "hello", minute=number)
    susan, me = await logged_in(app, "susan")
    page = await susan.get("/index")
    assert names(page) == [f"author{number}" for number in (5, 4, 3, 2, 1)]
    assert '<textarea id="post"' in page.text
    page = await susan.submit("/follow/author5", page="/index", next="/index")
    assert page.location == "/index"
    page = await susan.get("/index")
    assert names(page) == [f"author{number}" for number in (4, 3, 2, 1, 0)]  # beside a timeline now
    assert 'class="post"' in page.text
    assert len((await people.suggestions().get(me)).people) == 5
    for number in range(5):
        await susan.submit(f"/follow/author{number}", page="/index")
    assert names(await susan.get("/explore")) == ["quiet"]
