// SPDX-License-Identifier: LGPL-2.1-or-later
// Memory in page tables and memory saved, over the last minutes.
import { el, svg, setText } from "./dom.js";
import { formatBytes } from "./model.js";

export const SPAN_MS = 5 * 60 * 1000;

const WIDTH = 720;
const HEIGHT = 160;
const LEFT = 56;
const BOTTOM = 20;
const TOP = 8;

// Figures with their times, no older than the plot's time span.
export class History {
    constructor() {
        this.points = [];
    }

    add(time, saved, held) {
        this.points.push({ time, saved, held });
        while (this.points.length > 0 && this.points[0].time < time - SPAN_MS)
            this.points.shift();
    }
}

// The smallest power of two above all figures, so that labels are whole numbers.
function ceiling(points) {
    let top = 4096;
    for (const point of points)
        while (top < Math.max(point.saved, point.held))
            top *= 2;
    return top;
}

export class Plot {
    constructor(parent, title) {
        this.title = title;
        this.area = svg("polygon", { class: "saved-area" });
        this.saved = svg("polyline", { class: "saved-line" });
        this.held = svg("polyline", { class: "held-line" });
        this.labels = [0, 0.5, 1].map(part => {
            const y = this.y(part, 1);
            return { part, text: svg("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }), y };
        });
        this.picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "plot" },
                           ...this.labels.map(label => svg("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: label.y, y2: label.y })),
                           this.area, this.saved, this.held,
                           ...this.labels.map(label => label.text),
                           svg("text", { x: LEFT, y: HEIGHT - 4 }, "5 minutes ago"),
                           svg("text", { x: WIDTH, y: HEIGHT - 4, "text-anchor": "end" }, "now"));
        parent.append(this.picture,
                      el("ul", { class: "legend" },
                         el("li", { class: "saved-key" }, "saved"), el("li", { class: "held-key" }, "held once")));
    }

    y(value, top) {
        return TOP + (HEIGHT - BOTTOM - TOP) * (1 - value / top);
    }

    show(history, now) {
        const points = history.points;
        const top = ceiling(points);
        const x = time => LEFT + (WIDTH - LEFT) * (1 - (now - time) / SPAN_MS);
        const line = key => points.map(point => x(point.time).toFixed(1) + "," + this.y(point[key], top).toFixed(1));
        const saved = line("saved");

        this.saved.setAttribute("points", saved.join(" "));
        this.held.setAttribute("points", line("held").join(" "));
        this.area.setAttribute("points", points.length === 0
            ? ""
            : [x(points[0].time).toFixed(1) + "," + this.y(0, top), ...saved, x(points.at(-1).time).toFixed(1) + "," + this.y(0, top)].join(" "));
        for (const label of this.labels)
            setText(label.text, formatBytes(top * label.part));
        const last = points.at(-1);
        this.picture.setAttribute("aria-label", this.title +
            (last ? `: ${formatBytes(last.saved)} saved, ${formatBytes(last.held)} held once` : ""));
    }
}
