// SPDX-License-Identifier: LGPL-2.1-or-later
// The table of regions. An open row shows the clients of the region and its recent savings.
import { groupName, learnUsers, userName } from "./broker.js";
import { el, setText } from "./dom.js";
import { counted, errorSentence, formatBytes, formatMode, savedBytes } from "./model.js";
import { History, Plot } from "./plot.js";

const COLUMNS = 9;

function stateText(region) {
    return region.State === "creating" ? `creating, ${Math.floor(region.Progress * 100)}%` : region.State;
}

function since(usec) {
    return new Date(usec / 1000).toLocaleString();
}

class Row {
    constructor(region, actions) {
        const cell = (name, kind) => el("td", { class: name + (kind ? " " + kind : ""), "data-label": name });

        this.history = new History();
        this.isOpen = false;
        this.toggle = el("button", { class: "link toggle", "aria-expanded": "false", onclick: () => this.open(!this.isOpen) }, region.Name);
        this.label = el("span", { class: "label" });
        this.cells = {
            size: cell("size", "number"),
            resident: cell("resident", "number"),
            sharers: cell("sharers", "number"),
            tables: cell("tables", "number"),
            saved: cell("saved", "number"),
            owner: cell("owner"),
            state: cell("state"),
        };
        this.resize = el("button", { class: "button secondary small resize", hidden: true, onclick: () => actions.resize(this.region) }, "Resize");
        this.remove = el("button", { class: "button danger small remove", onclick: () => actions.remove(this.region) }, "Remove");
        this.refresh = actions.refresh;
        this.users = el("div", { class: "users" });
        this.facts = el("p", { class: "facts" });
        this.place = el("div");
        this.plot = new Plot(this.place, "Page tables of region " + region.Name);
        this.details = el("tr", { class: "details", hidden: true },
                          el("td", { colspan: COLUMNS }, this.facts, this.users, this.place));
        this.body = el("tbody", { "data-region": region.Name },
                       el("tr", {}, el("th", { scope: "row" }, this.toggle, this.label),
                          ...Object.values(this.cells), el("td", { class: "actions" }, this.resize, this.remove)),
                       this.details);
    }

    open(open) {
        this.isOpen = open;
        this.toggle.setAttribute("aria-expanded", String(open));
        this.details.hidden = !open;
        if (open)
            this.refresh();
    }

    show(region, now, canResize) {
        this.region = region;
        this.history.add(now, savedBytes(region), region.PageTableBytes);
        setText(this.label, region.Label || "");
        setText(this.cells.size, formatBytes(region.Size));
        setText(this.cells.resident, formatBytes(region.ResidentBytes));
        setText(this.cells.sharers, region.NSharers);
        setText(this.cells.tables, formatBytes(region.PageTableBytes));
        setText(this.cells.saved, formatBytes(savedBytes(region)));
        setText(this.cells.owner, `${userName(region.UID)}:${groupName(region.GID)}`);
        setText(this.cells.state, stateText(region));
        this.resize.hidden = !canResize || region.State !== "ready";
        if (this.isOpen) {
            this.plot.show(this.history, now);
            setText(this.facts, `Mode ${formatMode(region.Mode)}${(region.Acl || []).length > 0 ? "+" : ""}, ` +
                `backing ${region.Backing}, ${region.Lifetime}, created ${since(region.CreatedUSec)}`);
        }
    }

    async showUsers(broker) {
        let shown;
        try {
            const clients = await broker.clients(this.region.Name);
            await learnUsers(clients);
            shown = clients.length === 0
                ? [el("p", { class: "empty" }, "No process holds a lease on this region")]
                : [el("table", { class: "compact" },
                      el("caption", {}, `${counted(clients.length, "lease")}. Child processes inherit a lease from the process that acquired it.`),
                      el("thead", {}, el("tr", {}, ...["User", "Process", "Unit", "Access", "Since"].map(
                          title => el("th", { scope: "col" }, title)))),
                      el("tbody", {}, ...clients.map(client => el("tr", {}, ...[
                          userName(client.uid), client.pid, client.unit || "-", client.access, since(client.since),
                      ].map(value => el("td", {}, String(value)))))))];
        } catch (error) {
            shown = [el("p", { class: "empty" }, errorSentence(error))];
        }
        const text = shown.map(node => node.textContent).join();
        // Only where it differs, see setText().
        if (this.users.textContent !== text)
            this.users.replaceChildren(...shown);
    }
}

export class RegionTable {
    // actions: resize(region), remove(region), refresh()
    constructor(table, actions) {
        this.table = table;
        this.actions = actions;
        this.rows = new Map();
    }

    async show(regions, now, canResize, broker) {
        const paths = new Set(regions.map(region => region.path));
        for (const [path, row] of this.rows)
            if (!paths.has(path)) {
                row.body.remove();
                this.rows.delete(path);
            }
        let previous = this.table.tHead;
        for (const region of regions) {
            let row = this.rows.get(region.path);
            if (!row) {
                row = new Row(region, this.actions);
                this.rows.set(region.path, row);
            }
            row.show(region, now, canResize);
            if (previous.nextElementSibling !== row.body)
                previous.after(row.body);
            previous = row.body;
        }
        await Promise.all([...this.rows.values()].filter(row => row.isOpen).map(row => row.showUsers(broker)));
    }
}
