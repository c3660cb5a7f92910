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

    def saved(self, button):
        """The name and the text of the file that a button gives."""
        with self.page.expect_download() as event:
            button.click()
        return event.value.suggested_filename, event.value.path().read_bytes().decode()

    def overflow(self):
        """How much wider than the window the page is."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
