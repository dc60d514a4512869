// SPDX-License-Identifier: LGPL-2.1-or-later
// The page: asks the broker when it announces a change, and every two seconds, because the kernel's figures are not
// announced.
import { Broker, learnNames } from "./broker.js";
import { askCreate, askRemove, askResize } from "./dialogs.js";
import { alertBox, setText } from "./dom.js";
import { BROKER_DOWN, errorSentence, formatBytes, outsideSentence, regionsOutside, totals } from "./model.js";
import { History, Plot } from "./plot.js";
import { RegionTable } from "./regions.js";
import { followTheme } from "./theme.js";

const cockpit = window.cockpit;
const PERIOD_MS = 2000;
const byId = id => document.getElementById(id);

class Page {
    constructor() {
        this.broker = new Broker(() => this.look());
        this.regions = [];
        // Regions of the last periodic update. Updates in between do not count: a server may hold a lease for a moment before
        // it attaches.
        this.before = [];
        this.canResize = false;
        this.history = new History();
        this.plot = new Plot(byId("plot"), "Page tables of all regions");
        this.watchers = new Set();
        this.table = new RegionTable(byId("regions"), {
            remove: region => askRemove(this.broker, region),
            resize: region => askResize(this.broker, region),
            refresh: () => this.look(),
        });
        byId("create").addEventListener("click", () => askCreate(this.broker, name => this.find(name), f => this.watch(f)));
    }

    find(name) {
        return this.regions.find(region => region.Name === name);
    }

    watch(f) {
        this.watchers.add(f);
        return () => this.watchers.delete(f);
    }

    // One update at a time. All requests during an update lead to one more.
    async look(periodic) {
        this.periodic = this.periodic || periodic;
        if (this.looking) {
            this.again = true;
            return;
        }
        this.looking = true;
        do {
            this.again = false;
            await this.lookOnce();
        } while (this.again);
        this.looking = false;
    }

    async lookOnce() {
        let problems = [];
        let works = false;
        try {
            const regions = await this.broker.regions();
            const obstacle = await this.broker.obstacle();
            await learnNames(regions);
            this.canResize = await this.broker.canResize();
            this.regions = regions;
            if (obstacle)
                problems.push(alertBox("danger", "Regions cannot be used", obstacle));
            for (const region of regionsOutside(regions, this.before))
                problems.push(alertBox("warning", `The server of ${region.Name} is outside its region`, outsideSentence(region)));
            works = !obstacle;
            if (this.periodic)
                this.before = regions;
        } catch (error) {
            this.regions = this.before = [];
            const sentence = errorSentence(error);
            problems = [alertBox("danger", sentence === BROKER_DOWN ? "The broker is down" : "Cannot ask the broker", sentence)];
        }
        this.periodic = false;
        await this.show(problems, works);
    }

    async show(problems, works) {
        const now = Date.now();
        const sum = totals(this.regions);
        const place = byId("problems");

        byId("create").disabled = !works;
        if (place.textContent !== problems.map(problem => problem.textContent).join(""))
            place.replaceChildren(...problems);
        setText(byId("saved"), formatBytes(sum.saved));
        setText(byId("held"), formatBytes(sum.held));
        setText(byId("sharers"), sum.sharers);
        setText(byId("count"), sum.count);
        this.history.add(now, sum.saved, sum.held);
        this.plot.show(this.history, now);
        byId("regions").hidden = sum.count === 0;
        byId("none").hidden = sum.count > 0;
        await this.table.show(this.regions, now, this.canResize, this.broker);
        for (const f of this.watchers)
            f();
    }
}

// A change of administrative access affects only channels that are opened after it.
function followAdministrator() {
    const proxy = cockpit.dbus(null, { bus: "internal" }).proxy("cockpit.Superuser", "/superuser");
    let current = null;
    proxy.addEventListener("changed", () => {
        if (current !== null && proxy.Current !== current && proxy.Current !== "init")
            window.location.reload();
        current = proxy.Current;
    });
}

followTheme();
followAdministrator();
const page = new Page();
page.look(true);
window.setInterval(() => {
    if (!cockpit.hidden)
        page.look(true);
}, PERIOD_MS);
cockpit.addEventListener("visibilitychange", () => {
    if (!cockpit.hidden)
        page.look();
});
