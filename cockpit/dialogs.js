// SPDX-License-Identifier: LGPL-2.1-or-later
// Dialogs that create, resize and remove a region. The broker and polkit decide, and their errors are shown.
import { findGroup, findUser } from "./broker.js";
import { alertBox, el, setText } from "./dom.js";
import { counted, errorSentence, formatBytes, parseMode, parseSize } from "./model.js";

const SIZE_RULE = "a number of bytes above 0, optionally followed by K, M, G, T or P";

function field(id, label, input, help) {
    return el("div", { class: "field" }, el("label", { for: id }, label), input, help ? el("p", { class: "help" }, help) : "");
}

function textInput(id, value) {
    return el("input", { id, type: "text", value, autocomplete: "off", spellcheck: "false" });
}

function checkBox(id, label, help) {
    const input = el("input", { id, type: "checkbox" });
    return { input, row: el("div", { class: "field check" }, input, el("label", { for: id }, label), help ? el("p", { class: "help" }, help) : "") };
}

// A dialog that stays open until act() has succeeded. It shows an error that act() throws.
function ask({ id, title, body, verb, kind, act, cancel }) {
    const problem = el("div");
    const submit = el("button", { type: "submit", class: "button " + kind }, verb);
    const close = el("button", { type: "button", class: "button link cancel" }, "Cancel");
    const status = el("span", { class: "status", role: "status" });
    const form = el("form", { method: "dialog" }, el("h2", { id: id + "-title" }, title), problem, ...body,
                    el("footer", {}, submit, close, status));
    const dialog = el("dialog", { id, "aria-labelledby": id + "-title" }, form);
    let busy = false;

    form.addEventListener("submit", async event => {
        event.preventDefault();
        if (busy)
            return;
        busy = submit.disabled = true;
        problem.replaceChildren();
        try {
            await act(text => setText(status, text));
            dialog.close();
        } catch (error) {
            problem.replaceChildren(alertBox("danger", verb + " failed", errorSentence(error)));
        }
        busy = submit.disabled = false;
        setText(status, "");
    });
    const leave = () => {
        if (busy && cancel)
            cancel();
        else
            dialog.close();
    };
    close.addEventListener("click", leave);
    dialog.addEventListener("cancel", event => {
        event.preventDefault();
        leave();
    });
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
}

// As with msharectl create --owner=: the group is that of the user, unless another is named.
async function ownerOptions(text) {
    const match = /^([^:]*)(?::([^:]*))?$/.exec(text);
    if (!match)
        throw new Error(`Invalid owner '${text}': expected USER, USER:GROUP or :GROUP`);
    const options = {};
    if (match[1]) {
        const user = await findUser(match[1]);
        if (user === null)
            throw new Error(`There is no user '${match[1]}'`);
        options.uid = { t: "u", v: user.uid };
        options.gid = { t: "u", v: user.gid };
    }
    if (match[2]) {
        const gid = await findGroup(match[2]);
        if (gid === null)
            throw new Error(`There is no group '${match[2]}'`);
        options.gid = { t: "u", v: gid };
    }
    return options;
}

// find(name): the region of that name as it was last seen, or undefined. watch(f): f() is called after each update.
export function askCreate(broker, find, watch) {
    const name = textInput("create-name", "");
    const size = textInput("create-size", "1G");
    const mode = textInput("create-mode", "0600");
    const owner = textInput("create-owner", "");
    const label = textInput("create-label", "");
    const populate = checkBox("create-populate", "Allocate all memory now", "This takes a while for a large region");
    let making = null;

    async function act(tell) {
        const bytes = parseSize(size.value.trim());
        const bits = parseMode(mode.value.trim());
        if (!name.value.trim())
            throw new Error("The name is missing");
        if (bytes === null)
            throw new Error(`Invalid size '${size.value}': expected ${SIZE_RULE}`);
        if (bits === null)
            throw new Error(`Invalid mode '${mode.value}': expected an octal number from 0 to 0777`);
        const options = await ownerOptions(owner.value.trim());
        if (label.value)
            options.label = { t: "s", v: label.value };
        if (populate.input.checked)
            options.populate = { t: "b", v: true };
        making = name.value.trim();
        // A region of that name that exists already is a different one.
        const old = find(making);
        const unwatch = watch(() => {
            const region = find(making);
            if (region && region.CreatedUSec !== (old || {}).CreatedUSec && region.State === "creating")
                tell(`${Math.floor(region.Progress * 100)}% of ${formatBytes(region.Size)}`);
        });
        try {
            tell("Creating");
            await broker.create(making, bytes, bits, options);
        } finally {
            unwatch();
            making = null;
        }
    }

    ask({
        id: "create-dialog",
        title: "Create region",
        body: [
            field("create-name", "Name", name, "Letters, digits and . _ : @ -"),
            field("create-size", "Size", size, "In bytes, or with K, M, G, T or P"),
            field("create-mode", "Permissions", mode, "Octal, as for a file"),
            field("create-owner", "Owner", owner, "USER or USER:GROUP; empty: the user of this session"),
            field("create-label", "Note", label),
            populate.row,
        ],
        verb: "Create",
        kind: "primary",
        act,
        // Removing a region that is being created cancels the creation.
        cancel: () => {
            const region = making !== null && find(making);
            if (region && region.State === "creating")
                broker.remove(making, true).catch(() => {});
        },
    });
}

export function askResize(broker, region) {
    const size = textInput("resize-size", formatBytes(region.Size).includes(".") ? String(region.Size) : formatBytes(region.Size));
    const force = checkBox("resize-force", "Shrink the region even if clients use that memory");

    ask({
        id: "resize-dialog",
        title: `Resize region ${region.Name}`,
        body: [
            field("resize-size", "Size", size, "In bytes, or with K, M, G, T or P"),
            ...region.NClients > 0 ? [force.row] : [],
        ],
        verb: "Resize",
        kind: "primary",
        act: () => {
            const bytes = parseSize(size.value.trim().replace(/B$/, ""));
            if (bytes === null)
                throw new Error(`Invalid size '${size.value}': expected ${SIZE_RULE}`);
            return broker.resize(region.Name, bytes, force.input.checked);
        },
    });
}

export function askRemove(broker, region) {
    const force = checkBox("remove-force", "Remove the region even if it is in use",
                           "Processes that have it attached keep it until they exit; no others can attach");

    ask({
        id: "remove-dialog",
        title: `Remove region ${region.Name}?`,
        body: [
            el("p", {}, region.NClients > 0 || region.NSharers > 0
                ? `${counted(region.NClients, "lease")} and ${counted(region.NSharers, "sharer")} use it.`
                : "No process uses it. Its memory is freed."),
            ...region.NClients > 0 ? [force.row] : [],
        ],
        verb: "Remove",
        kind: "danger",
        act: () => broker.remove(region.Name, force.input.checked),
    });
}
