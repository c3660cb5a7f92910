"""A report in a window of a browser."""

SIZES = {"wide": (1280, 900), "narrow": (400, 800)}


class Opened:
    """A report in a window, with everything that the browser complained of or asked for.

    ``at`` is the place in it that its address names, as ``#speed``.
    """

    def __init__(self, browser, path, size="wide", at="", **options):
        width, height = SIZES[size]
        self.context = browser.new_context(viewport={"width": width, "height": height}, **options)
        self.page = self.context.new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.page.goto(path.as_uri() + at)
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def figure(self, name):
        """A figure, drawn."""
        found = self.page.locator(f"#figure-{name}")
        found.scroll_into_view_if_needed()
        found.locator(".plot svg.main-svg").first.wait_for()
        return found

    def every_figure(self):
        """All figures, drawn."""
        names = self.page.eval_on_selector_all(
            "figure[data-chart]", "found => found.map(each => each.dataset.chart)"
        )
        return {name: self.figure(name) for name in names}

    def drawn(self, name):
        """The lines of a figure by their name: what lies along x, and the values."""
        script = (
            """plot => plot.data.filter(t => t.name).map(t => [t.name, Array.from(t.x), Array.from(t.y)])"""
        )
        return {title: (x, y) for title, x, y in self.figure(name).locator(".plot").evaluate(script)}

    def overflow(self):
        """How much wider than the window the page is."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
