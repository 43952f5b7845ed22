// Light or dark, as the person chose it, else as their system says. Runs before the first paint.
(() => {
  "use strict";
  const KEY = "tuneroom-theme";
  const root = document.documentElement;
  const wantsDark = () => {
    const chosen = localStorage.getItem(KEY);
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const apply = () => {
    const dark = wantsDark();
    root.classList.toggle("dark", dark);
    root.style.colorScheme = dark ? "dark" : "light";
    if (document.body && document.body.classList.contains("dark") !== dark) document.body.classList.toggle("dark", dark);
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    new MutationObserver(apply).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  window.tuneroomTheme = () => {
    localStorage.setItem(KEY, wantsDark() ? "light" : "dark");
    apply();
  };
})();
