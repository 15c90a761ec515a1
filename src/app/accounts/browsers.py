"""The names of browsers and systems, for pages and mails."""

from app.web.languages import gettext, lazy_gettext

BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
SYSTEMS = (
    ("iPhone", "an iPhone"),
    ("iPad", "an iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "a Mac"),
    ("Linux", "Linux"),
)
"""Parts of User-Agent headers and their names; the first match wins, since most browsers also name others."""

ANY_BROWSER, UNKNOWN_BROWSER = "A browser", "An unknown browser"
WITH_ARTICLE = {
    "an iPhone": lazy_gettext("an iPhone"),
    "an iPad": lazy_gettext("an iPad"),
    "a Mac": lazy_gettext("a Mac"),
}


def describe(user_agent: str) -> str:
    """Return the browser and system that a User-Agent header names, such as "Firefox on Linux".

    Mails store these English words, and show them translated by `localized`.
    """
    browser = next((name for part, name in BROWSERS if part in user_agent), "")
    system = next((name for part, name in SYSTEMS if part in user_agent), "")
    if browser and system:
        return f"{browser} on {system}"
    if browser or system:
        return browser or f"{ANY_BROWSER} on {system}"
    return UNKNOWN_BROWSER


def localized(description: str) -> str:
    """Translate a description that `describe` has returned into the current language."""
    browser, _, system = description.partition(" on ")
    system = str(WITH_ARTICLE.get(system, system))
    if browser == ANY_BROWSER:
        # Translators: %(system)s is an operating system or a device, such as "Android" or "an iPhone"
        return gettext("A browser on %(system)s", system=system)
    if system:
        # Translators: such as "Firefox on Linux" or "Safari on an iPhone"
        return gettext("%(browser)s on %(system)s", browser=browser, system=system)
    return gettext("An unknown browser") if browser == UNKNOWN_BROWSER else browser
