// Theme, copy buttons and relative times of every page.
(function () {
  "use strict";
  var root = document.documentElement;
  var said = document.querySelector("[data-said]");

  function say(text) {
    said.textContent = "";
    requestAnimationFrame(function () { said.textContent = text; });
  }

  // Theme

  var toggle = document.querySelector("[data-theme-toggle]");
  var system = window.matchMedia("(prefers-color-scheme: dark)");

  function theme() {
    return root.dataset.theme || (system.matches ? "dark" : "light");
  }

  toggle.addEventListener("click", function () {
    var next = theme() === "dark" ? "light" : "dark";
    root.dataset.theme = next;
    try { localStorage.setItem("featdsl-theme", next); } catch (error) { /* it holds for this page alone */ }
    document.dispatchEvent(new CustomEvent("featdsl:theme", { detail: next }));
    say(next === "dark" ? "Dark theme" : "Light theme");
  });

  // Copy

  function selectAndCopy(text) {
    var area = document.createElement("textarea");
    area.value = text;
    area.setAttribute("readonly", "");
    area.className = "hidden";
    document.body.append(area);
    area.select();
    var done = false;
    try { done = document.execCommand("copy"); } catch (error) { done = false; }
    area.remove();
    return done;
  }

  function copied(button, done) {
    button.textContent = done ? "Copied" : "Select it";
    say(done ? "Copied" : "The browser does not allow copying");
    setTimeout(function () { button.textContent = "Copy"; }, 1600);
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-copy]");
    if (!button) return;
    var text = button.closest(".code").querySelector("code").textContent;
    if (navigator.clipboard && window.isSecureContext) {
      navigator.clipboard.writeText(text).then(
        function () { copied(button, true); },
        function () { copied(button, selectAndCopy(text)); button.focus(); }
      );
    } else {
      copied(button, selectAndCopy(text));
      button.focus();
    }
  });

  // Times: the page was built earlier, so how long ago it was is for the reader's clock to say.

  var units = [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60]];
  var relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

  document.querySelectorAll("time[data-relative]").forEach(function (element) {
    var seconds = (Date.parse(element.dateTime) - Date.now()) / 1000;
    if (!isFinite(seconds)) return;
    element.title = element.textContent + " UTC";
    var unit = units.find(function (each) { return Math.abs(seconds) >= each[1]; });
    element.textContent = unit ? relative.format(Math.round(seconds / unit[1]), unit[0]) : "just now";
  });
})();
