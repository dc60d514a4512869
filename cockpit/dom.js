// SPDX-License-Identifier: LGPL-2.1-or-later
// Creates elements without a library. Text is never read as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
    for (const [key, value] of Object.entries(attributes))
        if (key.startsWith("on"))
            element.addEventListener(key.slice(2), value);
        else if (value === true)
            element.setAttribute(key, "");
        else if (value !== false && value !== null && value !== undefined)
            element.setAttribute(key, value);
    element.append(...children);
    return element;
}

export function el(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Change the element only if the text differs. This keeps a selection and a screen reader's position.
export function setText(element, text) {
    if (element.textContent !== String(text))
        element.textContent = text;
}

const ALERT_WORDS = { danger: "Danger", warning: "Warning", info: "Info" };

export function alertBox(kind, title, text) {
    return el("div", { class: "alert " + kind, role: kind === "danger" ? "alert" : "status" },
              el("strong", {}, el("span", { class: "for-readers" }, ALERT_WORDS[kind] + ": "), title),
              el("p", {}, text));
}
