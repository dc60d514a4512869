// SPDX-License-Identifier: LGPL-2.1-or-later
// Turns what the broker says into words and figures for people. It makes no calls.

const SUFFIXES = "BKMGTPE";

// As msharectl writes it, because a figure must look the same in both.
export function formatBytes(bytes) {
    let unit = 1;
    let i = 0;
    while (i + 1 < SUFFIXES.length && Math.floor(bytes / unit) >= 1024) {
        unit *= 1024;
        i++;
    }
    const whole = Math.floor(bytes / unit);
    if (bytes % unit === 0)
        return whole + SUFFIXES[i];
    return whole + "." + Math.min(9, Math.floor((bytes % unit) / Math.floor(unit / 10))) + SUFFIXES[i];
}

// The grammar of msharectl(1): a whole number, optionally followed by one of K, M, G, T, P, E. null: not of that form.
export function parseSize(text) {
    const match = /^([0-9]{1,19})([KMGTPE]?)$/i.exec(text);
    if (!match)
        return null;
    const bytes = Number(match[1]) * 1024 ** SUFFIXES.indexOf(match[2].toUpperCase() || "B");
    // Larger numbers are not exact in this language, and larger than any window.
    return bytes > 0 && bytes <= Number.MAX_SAFE_INTEGER ? bytes : null;
}

export function parseMode(text) {
    return /^0?[0-7]{1,3}$/.test(text) ? parseInt(text, 8) : null;
}

export function formatMode(mode) {
    return (mode & 0o777).toString(8).padStart(4, "0");
}

export function counted(n, noun) {
    return n + " " + noun + (n === 1 ? "" : "s");
}

// Memory that page tables of their own would use for the other sharers. The broker computes its sum in the same way.
export function savedBytes(region) {
    return region.NSharers > 0 ? (region.NSharers - 1) * region.PageTableBytes : 0;
}

export function totals(regions) {
    const sum = { saved: 0, held: 0, sharers: 0, count: regions.length };
    for (const region of regions) {
        sum.saved += savedBytes(region);
        sum.held += region.PageTableBytes;
        sum.sharers += region.NSharers;
    }
    return sum;
}

// Regions on which a server holds a lease while no process has them attached. A server acquires the lease a moment
// before it attaches, so a region counts only if that was also the case in the update before.
export function regionsOutside(regions, before) {
    const outside = region => region.State === "ready" && region.NClients > 0 && region.NSharers === 0;
    const wasOutside = new Set(before.filter(outside).map(region => region.path));
    return regions.filter(region => outside(region) && wasOutside.has(region.path));
}

export function outsideSentence(region) {
    return `A server holds ${counted(region.NClients, "lease")} on region ${region.Name}, but no process has the region ` +
        "attached: each process of that server may be paying for page tables of its own. " +
        `"msharectl check UNIT ${region.Name}" says why.`;
}

export const BROKER_DOWN = "The broker mshared is not running, so regions cannot be shown or changed. " +
    "\"systemctl start mshared\" starts it. Servers that are attached already are not affected.";

// An error of the bus as a sentence.
export function errorSentence(error) {
    switch (error.name || error.problem) {
    case "org.freedesktop.DBus.Error.ServiceUnknown":
    case "org.freedesktop.DBus.Error.NameHasNoOwner":
    case "not-found":
        return BROKER_DOWN;
    case "org.freedesktop.DBus.Error.AccessDenied":
    case "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired":
        return (error.message || "This needs an administrator's permission") +
            ". You may need administrative access: see the top of Cockpit's window.";
    case "disconnected":
        return "The connection to the server is lost.";
    default:
        return error.message || error.name || error.problem || String(error);
    }
}
