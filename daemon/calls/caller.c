/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Asks the bus for each caller's credentials before the caller's first call is dispatched. It may hold calls back, but does not
 * read their arguments.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/queue.h>

#include "basic/util.h"
#include "policy/caller-unit.h"
#include "calls/caller.h"
#include "calls/dictionary.h"
#include "calls/held.h"

/*
 * How many questions to the bus may be open. dbus-daemon 1.16 puts a descriptor of the process into each answer, and queues 64
 * descriptors for a connection (max_outgoing_unix_fds). Beyond that it drops its own answers and refuses other messages to this
 * connection, so a crowd of new callers would keep out all others.
 */
#define QUESTIONS_MAX 16

/*
 * The bus also drops answers if other processes send too much to this connection: more than 64 descriptors, or 127 MiB. So a
 * question without an answer soon makes room for others, and is asked again. All tries take less than the 25 s that callers
 * wait.
 */
#define QUESTION_TIMEOUT_USEC (2 * USEC_PER_SEC)
#define QUESTION_TRIES 8

typedef struct Caller {
        LIST_ENTRY(Caller) callers;
        TAILQ_ENTRY(Caller) waiting; /* while queued */
        Callers *owner;
        char *name;
        Identity who;
        bool known, queued;
        bool looked_for; /* it stays here until it leaves the bus, even if it cannot be identified */
        sd_bus_slot *slot; /* of the question to the bus, while it is open */
        unsigned n_tries;
        HeldCalls held; /* arrived before the answer; once it is there, the first of them is in the read queue */
} Caller;

struct Callers {
        sd_bus *bus;
        const Log *log;
        const unsigned *n_leases;
        CallerGone gone;
        CallRefused refused;
        void *userdata;
        sd_bus_slot *filter, *left;
        LIST_HEAD(CallerList, Caller) callers;
        TAILQ_HEAD(CallerQueue, Caller) waiting; /* for their question to be sent */
        unsigned n_questions;
        size_t held_bytes; /* of all held calls */
};

static void question_done(Caller *c) {
        c->slot = sd_bus_slot_unref(c->slot);
        c->owner->n_questions--;
}

static void enqueue(Caller *c) {
        TAILQ_INSERT_TAIL(&c->owner->waiting, c, waiting);
        c->queued = true;
}

static void caller_free(Caller *c) {
        LIST_REMOVE(c, callers);
        /* If the connection has gone, the answer that may still come is an error, without a descriptor. */
        if (c->slot)
                question_done(c);
        if (c->queued)
                TAILQ_REMOVE(&c->owner->waiting, c, waiting);
        held_drop_all(&c->held);
        identity_done(&c->who);
        free(c->name);
        free(c);
}

static Caller *find_caller(Callers *callers, const char *name) {
        Caller *c;

        LIST_FOREACH(c, &callers->callers, callers)
                if (streq(c->name, name))
                        return c;
        return NULL;
}

static int read_groups(sd_bus_message *m, Identity *who) {
        const void *gids;
        size_t size;
        int r;

        r = sd_bus_message_enter_container(m, 'v', "au");
        if (r < 0)
                return r;
        r = sd_bus_message_read_array(m, 'u', &gids, &size);
        if (r < 0)
                return r;
        if (size > 0) {
                free(who->gids);
                who->gids = malloc(size);
                if (!who->gids)
                        return -ENOMEM;
                memcpy(who->gids, gids, size);
                who->n_gids = size / sizeof(gid_t);
        }
        return sd_bus_message_exit_container(m);
}

/*
 * The bus gives all groups, sorted, but not which one is the primary group. So look at the process, if it still exists. Its
 * PID may belong to another process by now, so use its group only if the bus has named that group as well.
 */
static void find_primary_group(Identity *who) {
        _cleanup_(freep) char *text = NULL;
        uint32_t uid, gid;
        char path[64];
        const char *p;

        if (who->n_gids > 0)
                who->gid = who->gids[0];
        (void) snprintf(path, sizeof(path), "/proc/%" PRId32 "/status", (int32_t) who->pid);
        if (who->n_gids == 1 || who->pid <= 0 || read_file(AT_FDCWD, path, 16384, &text, NULL) < 0)
                return;
        p = strstr(text, "\nUid:");
        if (!p || sscanf(p, "\nUid: %*u %" SCNu32, &uid) != 1 || uid != who->uid)
                return;
        p = strstr(text, "\nGid:");
        if (!p || sscanf(p, "\nGid: %*u %" SCNu32, &gid) != 1)
                return;
        if (who->n_gids == 0 || identity_in_group(who, gid))
                who->gid = gid;
}

static int read_credential(sd_bus_message *m, const char *key, void *userdata, sd_bus_error *unused) {
        Identity *who = userdata;
        uint32_t v;
        int r;

        if (streq(key, "UnixGroupIDs"))
                return read_groups(m, who);
        if (!streq(key, "UnixUserID") && !streq(key, "ProcessID"))
                return sd_bus_message_skip(m, "v");
        r = sd_bus_message_read(m, "v", "u", &v);
        if (r < 0)
                return r;
        if (streq(key, "UnixUserID"))
                who->uid = v;
        else
                who->pid = (pid_t) v;
        return 0;
}

static int read_credentials(sd_bus_message *m, Identity *ret) {
        _cleanup_(identity_done) Identity who = { .uid = (uid_t) -1, .gid = (gid_t) -1 };
        int r;

        r = dictionary_read(m, read_credential, &who, NULL);
        if (r < 0)
                return r;
        if (who.uid == (uid_t) -1)
                return -ENODATA;
        find_primary_group(&who);
        /* Do this only once for each connection: it takes three times as many system calls as a whole lease. */
        who.unit = caller_unit(who.pid, who.uid);
        *ret = who;
        who = (Identity){};
        return 0;
}

/* Answers all held calls with an error: a caller without credentials is not served. */
static void refuse(Caller *c, int error) {
        sd_bus_message *m;

        while ((m = held_first(&c->held))) {
                c->owner->refused(m, c->owner->userdata);
                (void) sd_bus_reply_method_errorf(m, SD_BUS_ERROR_ACCESS_DENIED,
                                                  "Cannot get the credentials of %s from the bus: %s", c->name,
                                                  strerror(-error));
                held_drop_first(&c->held);
        }
}

/*
 * Puts the first held call back into the read queue. The others follow one by one, so each call is either held or in the queue:
 * what is answered with an error here is not dispatched as well.
 */
static void dispatch_next(Caller *c) {
        Callers *callers = c->owner;
        sd_bus_message *m;
        int r;

        while ((m = held_first(&c->held))) {
                r = sd_bus_enqueue_for_read(callers->bus, m);
                if (r >= 0)
                        return;
                callers->refused(m, callers->userdata);
                (void) sd_bus_reply_method_errno(m, r, NULL);
                held_drop_first(&c->held);
        }
}

/* The connection has left the bus. */
static void lose(Caller *c, int error) {
        c->owner->gone(c->name, c->owner->userdata);
        refuse(c, error);
        caller_free(c);
}

/* The bus has not identified the connection. */
static void fail(Caller *c, int error) {
        log_message(c->owner->log, LOG_DEBUG, "No credentials of %s: %s", c->name, strerror(-error));
        /* What is known stays true as long as the connection exists. */
        if (c->known)
                return;
        refuse(c, error);
        if (!c->looked_for)
                caller_free(c);
}

static void take_credentials(Caller *c, sd_bus_message *m) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        Identity who = {};
        int r;

        if (e && sd_bus_error_has_name(e, SD_BUS_ERROR_NAME_HAS_NO_OWNER)) {
                lose(c, -sd_bus_error_get_errno(e));
                return;
        }
        r = e ? -sd_bus_error_get_errno(e) : read_credentials(m, &who);
        if (r < 0) {
                fail(c, r);
                return;
        }
        if (c->known) {
                identity_done(&who);
                return;
        }
        c->who = who;
        c->known = true;
        dispatch_next(c);
}

static void ask_next(Callers *callers);

static int credentials_came(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        Caller *c = userdata;
        Callers *callers = c->owner;

        question_done(c);
        /* If the connection is known, callers_look_for() asks again whether it still exists. */
        if (sd_bus_message_is_method_error(m, SD_BUS_ERROR_NO_REPLY) > 0 && !c->known && c->n_tries < QUESTION_TRIES)
                enqueue(c);
        else
                take_credentials(c, m);
        ask_next(callers);
        return 0;
}

static int ask(Caller *c) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(c->owner->bus, &m, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                           "org.freedesktop.DBus", "GetConnectionCredentials");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", c->name);
        if (r >= 0)
                r = sd_bus_call_async(c->owner->bus, &c->slot, m, credentials_came, c, QUESTION_TIMEOUT_USEC);
        if (r < 0)
                return r;
        c->owner->n_questions++;
        c->n_tries++;
        return 0;
}

static void ask_next(Callers *callers) {
        Caller *c;
        int r;

        while (callers->n_questions < QUESTIONS_MAX && (c = TAILQ_FIRST(&callers->waiting))) {
                TAILQ_REMOVE(&callers->waiting, c, waiting);
                c->queued = false;
                r = ask(c);
                if (r < 0)
                        fail(c, r);
        }
}

/* Asks about the connection, unless a question is under way. The connection may have been freed afterwards. */
static void look_for(Caller *c) {
        if (c->slot || c->queued)
                return;
        c->n_tries = 0;
        enqueue(c);
        ask_next(c->owner);
}

static int caller_new(Callers *callers, const char *name, Caller **ret) {
        Caller *c;

        c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        c->name = strdup(name);
        if (!c->name) {
                free(c);
                return -ENOMEM;
        }
        held_init(&c->held, &callers->held_bytes);
        c->owner = callers;
        LIST_INSERT_HEAD(&callers->callers, c, callers);
        *ret = c;
        return 0;
}

int callers_look_for(Callers *callers, const char *name) {
        Caller *c = find_caller(callers, name);
        int r;

        r = c ? 0 : caller_new(callers, name, &c);
        if (r < 0)
                return r;
        c->looked_for = true;
        r = c->known;
        look_for(c);
        return r;
}

static int filter(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Callers *callers = userdata;
        const char *sender = sd_bus_message_get_sender(m);
        uint8_t type;
        Caller *c;
        int r;

        r = sd_bus_message_get_type(m, &type);
        if (r < 0 || type != SD_BUS_MESSAGE_METHOD_CALL || !sender || sender[0] != ':')
                return r < 0 ? r : 0;
        c = find_caller(callers, sender);
        if (c && c->known) {
                /* While held calls are in the read queue, nothing new is read. So any other call has been here before. */
                if (held_first(&c->held) == m) {
                        held_drop_first(&c->held);
                        dispatch_next(c);
                }
                return 0;
        }
        r = c ? 0 : caller_new(callers, sender, &c);
        if (r >= 0)
                r = held_add(&c->held, m, *callers->n_leases, &error);
        if (r < 0) {
                callers->refused(m, callers->userdata);
                return sd_bus_reply_method_errno(m, r, &error) < 0 ? r : 1;
        }
        look_for(c);
        return 1;
}

static int name_left(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *sender = sd_bus_message_get_sender(m), *name, *old, *new;
        Callers *callers = userdata;
        Caller *c;
        int r;

        /*
         * The match does not check the sender. Any user can send a signal of this name to the broker, and the bus delivers it.
         */
        if (!sender || !streq(sender, "org.freedesktop.DBus"))
                return 0;
        r = sd_bus_message_read(m, "sss", &name, &old, &new);
        if (r < 0 || name[0] != ':' || *new)
                return 0;
        c = find_caller(callers, name);
        if (!c)
                return 0;
        callers->gone(name, callers->userdata);
        caller_free(c);
        ask_next(callers);
        return 0;
}

int callers_new(sd_bus *bus, const Log *log, const unsigned *n_leases, CallerGone gone, CallRefused refused,
                void *userdata, Callers **ret) {
        Callers *callers;
        int r;

        callers = calloc(1, sizeof(*callers));
        if (!callers)
                return -ENOMEM;
        *callers = (Callers){
                .bus = bus,
                .log = log,
                .n_leases = n_leases,
                .gone = gone,
                .refused = refused,
                .userdata = userdata,
        };
        TAILQ_INIT(&callers->waiting);
        r = sd_bus_add_filter(bus, &callers->filter, filter, callers);
        /* One match for all connections: with one for each, the bus's limit of 512 would be reached. */
        if (r >= 0)
                r = sd_bus_add_match(bus, &callers->left,
                                     "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                                     "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg2=''",
                                     name_left, callers);
        if (r < 0) {
                callers_free(callers);
                return r;
        }
        *ret = callers;
        return 0;
}

void callers_free(Callers *callers) {
        Caller *c;

        if (!callers)
                return;
        sd_bus_slot_unref(callers->filter);
        sd_bus_slot_unref(callers->left);
        while ((c = LIST_FIRST(&callers->callers)))
                caller_free(c);
        free(callers);
}

const Identity *callers_find(Callers *callers, sd_bus_message *m) {
        const char *sender = sd_bus_message_get_sender(m);
        Caller *c = sender ? find_caller(callers, sender) : NULL;

        return c && c->known ? &c->who : NULL;
}
