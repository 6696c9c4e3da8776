// Set the chosen theme before the first paint. Without a choice, the page follows the system.
(function () {
  "use strict";
  try {
    var theme = localStorage.getItem("featdsl-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch (error) {
    // Storage is off: the system's theme holds.
  }
})();
