// Search runs in a worker, which a page that is opened as a file may not start: there a hidden frame runs the script.
// The theme's plugin "offline" asks for no other copy of such a script where a file has this name.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = "";
      this.started = new Promise((resolve) => {
        frame.addEventListener("load", () => {
          const own = frame.contentWindow;
          own.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
          const script = own.document.createElement("script");
          script.src = url;
          script.addEventListener("load", () => resolve(own));
          own.document.body.append(script);
        }, { once: true });
      });
      document.documentElement.append(frame);
    }

    postMessage(data) {
      this.started.then((own) => own.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}
