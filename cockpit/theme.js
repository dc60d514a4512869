// SPDX-License-Identifier: LGPL-2.1-or-later
// Light or dark, as the user has set it in Cockpit, or else in the browser.

const KEY = "shell:style";
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function apply() {
    const style = window.localStorage.getItem(KEY) || "auto";
    document.documentElement.classList.toggle("dark", style === "dark" || (style === "auto" && dark.matches));
}

export function followTheme() {
    apply();
    dark.addEventListener("change", apply);
    window.addEventListener("storage", event => {
        if (event.key === KEY)
            apply();
    });
    // Cockpit's shell sends this event to its frames.
    window.addEventListener("cockpit-style", apply);
}
