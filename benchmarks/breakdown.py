"""Where the time of a page goes."""


async def show(settings):
    pass
