// SPDX-License-Identifier: LGPL-2.1-or-later
// The broker's interface on the system bus, org.mshare1(5).

const cockpit = window.cockpit;

const NAME = "org.mshare1";
const PATH = "/org/mshare1";
const MANAGER = "org.mshare1.Manager";
const REGION = "org.mshare1.Region";
const UNSUPPORTED = "org.mshare1.Error.KernelUnsupported";

// Many signals arrive at once when a server starts.
const CROWD_MS = 100;

// polkit may ask the user for an administrator's password.
const INTERACTIVE = { flags: "i" };

function plain(properties) {
    const values = {};
    for (const key in properties)
        values[key] = properties[key].v;
    return values;
}

export class Broker {
    // changed() is called when something may be different.
    constructor(changed) {
        this.client = cockpit.dbus(NAME, { bus: "system", superuser: "try" });
        this.timer = null;
        const soon = () => {
            if (this.timer === null)
                this.timer = window.setTimeout(() => { this.timer = null; changed() }, CROWD_MS);
        };
        this.client.subscribe({ path_namespace: PATH }, soon);
        this.client.addEventListener("owner", soon);
        this.client.addEventListener("close", soon);
    }

    call(method, args, options) {
        return this.client.call(PATH, MANAGER, method, args, options);
    }

    // All regions with their properties, by name.
    async regions() {
        const [objects] = await this.client.call(PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", []);
        const regions = [];
        for (const path in objects)
            if (objects[path][REGION])
                regions.push({ path, ...plain(objects[path][REGION]) });
        return regions.sort((a, b) => a.Name < b.Name ? -1 : 1);
    }

    // A sentence that says why no region can be created or used, or null. Only the answer to a request says that. No
    // region has an empty name, so this request has no effect.
    async obstacle() {
        try {
            await this.call("AcquireRegion", ["", "r", {}]);
        } catch (error) {
            if (error.name === UNSUPPORTED)
                return error.message;
        }
        return null;
    }

    // Older brokers cannot resize regions.
    async canResize() {
        const [xml] = await this.client.call(PATH, "org.freedesktop.DBus.Introspectable", "Introspect", []);
        return xml.includes("\"ResizeRegion\"");
    }

    async clients(name) {
        const [rows] = await this.call("ListClients", [name]);
        return rows.map(([uid, pid, unit, access, since]) => ({ uid, pid, unit, access, since }));
    }

    // options: names of org.mshare1(5) with {t: signature, v: value}. Returns when the region is ready.
    create(name, size, mode, options) {
        return this.call("CreateRegion", [name, size, mode, options], INTERACTIVE);
    }

    resize(name, size, force) {
        return this.call("ResizeRegion", [name, size, force ? { force: { t: "b", v: true } } : {}], INTERACTIVE);
    }

    remove(name, force) {
        return this.call("RemoveRegion", [name, force ? { force: { t: "b", v: true } } : {}], INTERACTIVE);
    }
}

// Names of users and groups; each is looked up once.
const known = { passwd: new Map(), group: new Map() };

async function lookUp(database, keys) {
    // getent fails if one name is missing, but prints the others.
    const text = await cockpit.spawn(["getent", "--", database, ...keys], { err: "ignore" })
            .catch((_error, data) => data || "");
    return text.split("\n").filter(line => line).map(line => line.split(":"));
}

async function learn(database, ids) {
    const missing = [...new Set(ids)].filter(id => !known[database].has(id));
    if (missing.length === 0)
        return;
    for (const id of missing)
        known[database].set(id, String(id));
    for (const fields of await lookUp(database, missing.map(String)))
        known[database].set(Number(fields[2]), fields[0]);
}

export async function learnNames(regions) {
    await Promise.all([
        learn("passwd", regions.map(region => region.UID)),
        learn("group", regions.map(region => region.GID)),
    ]);
}

export async function learnUsers(clients) {
    await learn("passwd", clients.map(client => client.uid));
}

export const userName = uid => known.passwd.get(uid) || String(uid);
export const groupName = gid => known.group.get(gid) || String(gid);

// Finds the user by name or number; null if there is none.
export async function findUser(text) {
    const [fields] = await lookUp("passwd", [text]);
    return fields ? { uid: Number(fields[2]), gid: Number(fields[3]) } : null;
}

export async function findGroup(text) {
    const [fields] = await lookUp("group", [text]);
    return fields ? Number(fields[2]) : null;
}
