/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Reads the options maps of CreateRegion, ResizeRegion and RemoveRegion into requests. It checks each option on its own, and
 * knows neither regions nor rights.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "bus/options.h"
#include "errors.h"
#include "model/name.h"
#include "calls/dictionary.h"

/* A year. A longer time was probably meant in another unit. */
#define LINGER_MAX (365 * 24 * 3600 * USEC_PER_SEC)

typedef struct Option {
        const char *key;
        char type;
        int (*read)(sd_bus_message *m, void *userdata, sd_bus_error *error);
} Option;

static int invalid(sd_bus_error *error, const char *format, ...) _printf_(2, 3);

static int invalid(sd_bus_error *error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void) sd_bus_error_setfv(error, SD_BUS_ERROR_INVALID_ARGS, format, ap);
        va_end(ap);
        return -EINVAL;
}

static int unknown_key(const char *key, const Option *options, size_t n, sd_bus_error *error) {
        char known[256] = "";
        size_t k = 0;

        for (size_t i = 0; i < n && k < sizeof(known); i++)
                k += (size_t) snprintf(known + k, sizeof(known) - k, "%s%s", i > 0 ? ", " : "", options[i].key);
        if (n == 0)
                return invalid(error, "Unknown option '%.100s': this method takes no options yet", key);
        return invalid(error, "Unknown option '%.100s': expected one of %s", key, known);
}

typedef struct Reading {
        const Option *options;
        size_t n;
        uint64_t seen; /* a bit for each option */
        void *request;
} Reading;

static int read_one(sd_bus_message *m, const char *key, void *userdata, sd_bus_error *error) {
        Reading *reading = userdata;
        const Option *option;
        const char *contents;
        char wanted[2] = "";
        size_t i;
        char type;
        int r;

        for (i = 0; i < reading->n; i++)
                if (streq(reading->options[i].key, key))
                        break;
        if (i == reading->n)
                return unknown_key(key, reading->options, reading->n, error);
        if (reading->seen & (UINT64_C(1) << i))
                return invalid(error, "Option '%s' is given twice", key);
        reading->seen |= UINT64_C(1) << i;

        option = reading->options + i;
        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r < 0)
                return r;
        wanted[0] = option->type;
        if (!contents || !streq(contents, wanted))
                return invalid(error, "Option '%s' has the type '%.20s': expected '%s'", key, contents ?: "", wanted);
        r = sd_bus_message_enter_container(m, 'v', wanted);
        if (r < 0)
                return r;
        r = option->read(m, reading->request, error);
        if (r < 0)
                return r;
        return sd_bus_message_exit_container(m);
}

static int read_options(sd_bus_message *m, const Option *options, size_t n, void *request, sd_bus_error *error) {
        Reading reading = { .options = options, .n = n, .request = request };

        return dictionary_read(m, read_one, &reading, error);
}

static int read_address(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        CreateRequest *request = userdata;

        request->address_set = true;
        return sd_bus_message_read(m, "t", &request->address);
}

static int read_maximum(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        CreateRequest *request = userdata;

        request->maximum_set = true;
        return sd_bus_message_read(m, "t", &request->maximum);
}

static int read_final_mode(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        CreateRequest *request = userdata;
        uint32_t mode;
        int r;

        r = sd_bus_message_read(m, "u", &mode);
        if (r < 0)
                return r;
        request->final_mode_set = true;
        request->final_mode = mode;
        return 0;
}

static int read_id(sd_bus_message *m, const char *key, uint32_t *ret, sd_bus_error *error) {
        int r;

        r = sd_bus_message_read(m, "u", ret);
        if (r < 0)
                return r;
        if (*ret == UINT32_MAX)
                return invalid(error, "Option '%s' is %" PRIu32 ", which is not a valid ID", key, *ret);
        return 0;
}

static int read_uid(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return read_id(m, "uid", &((CreateRequest *) userdata)->uid, error);
}

static int read_gid(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return read_id(m, "gid", &((CreateRequest *) userdata)->gid, error);
}

static int read_word(sd_bus_message *m, const char *key, int (*from_string)(const char *), const char *known,
                     unsigned *ret, sd_bus_error *error) {
        const char *word;
        int r;

        r = sd_bus_message_read(m, "s", &word);
        if (r < 0)
                return r;
        r = from_string(word);
        if (r < 0)
                return invalid(error, "Option '%s' is '%.100s': expected one of %s", key, word, known);
        *ret = (unsigned) r;
        return 0;
}

static int read_backing(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return read_word(m, "backing", backing_parse, BACKING_WORDS, &((CreateRequest *) userdata)->backing, error);
}

static int read_hugepages(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return read_word(m, "hugepages", hugepages_parse, HUGEPAGES_WORDS, &((CreateRequest *) userdata)->hugepages,
                         error);
}

static int read_numa(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *text;
        int r;

        r = sd_bus_message_read(m, "s", &text);
        if (r < 0)
                return r;
        if (numa_parse(text, &((CreateRequest *) userdata)->numa) < 0)
                return invalid(error, "Option 'numa' is '%.100s': expected " NUMA_FORM, text);
        return 0;
}

static int read_lifetime(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return read_word(m, "lifetime", lifetime_parse, LIFETIME_WORDS, &((CreateRequest *) userdata)->lifetime, error);
}

static int read_fd(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        CreateRequest *request = userdata;
        int fd, r;

        r = sd_bus_message_read(m, "h", &fd);
        if (r < 0)
                return r;
        /* The message owns its descriptors, but the donor may need this one after the message has been freed. */
        request->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (request->fd < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "Cannot keep the descriptor of option 'fd': %s",
                                         strerror(errno));
        return 0;
}

static int read_yes_no(sd_bus_message *m, bool *ret) {
        int b, r;

        r = sd_bus_message_read(m, "b", &b);
        if (r < 0)
                return r;
        *ret = b;
        return 0;
}

static int read_populate(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return read_yes_no(m, &((CreateRequest *) userdata)->populate);
}

static int read_linger(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        CreateRequest *request = userdata;
        int r;

        r = sd_bus_message_read(m, "t", &request->linger_usec);
        if (r < 0)
                return r;
        if (request->linger_usec > LINGER_MAX)
                return invalid(error, "Option 'linger' is %" PRIu64 " µs: expected at most %" PRIu64 " µs, a year",
                               request->linger_usec, (uint64_t) LINGER_MAX);
        return 0;
}

static int read_label(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *label;
        int r;

        r = sd_bus_message_read(m, "s", &label);
        if (r < 0)
                return r;
        if (strlen(label) > LABEL_MAX)
                return invalid(error, "Option 'label' has %zu bytes: expected at most %d", strlen(label), LABEL_MAX);
        if (!text_is_printable(label))
                return invalid(error, "Option 'label' contains a control character, which a terminal would interpret");
        return free_and_strdup(&((CreateRequest *) userdata)->label, label);
}

int options_read_create(sd_bus_message *m, CreateRequest *request, sd_bus_error *error) {
        static const Option options[] = {
                { "address", 't', read_address },
                { "uid", 'u', read_uid },
                { "gid", 'u', read_gid },
                { "backing", 's', read_backing },
                { "fd", 'h', read_fd },
                { "populate", 'b', read_populate },
                { "hugepages", 's', read_hugepages },
                { "numa", 's', read_numa },
                { "lifetime", 's', read_lifetime },
                { "linger", 't', read_linger },
                { "label", 's', read_label },
                { "maximum", 't', read_maximum },
                { "final-mode", 'u', read_final_mode },
        };

        return read_options(m, options, ELEMENTSOF(options), request, error);
}

static int read_force(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return read_yes_no(m, userdata);
}

static int read_resize_force(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return read_yes_no(m, &((ResizeRequest *) userdata)->force);
}

static int read_resize_populate(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return read_yes_no(m, &((ResizeRequest *) userdata)->populate);
}

int options_read_resize(sd_bus_message *m, ResizeRequest *request, sd_bus_error *error) {
        static const Option options[] = {
                { "force", 'b', read_resize_force },
                { "populate", 'b', read_resize_populate },
        };

        return read_options(m, options, ELEMENTSOF(options), request, error);
}

int options_read_remove(sd_bus_message *m, bool *ret_force, sd_bus_error *error) {
        static const Option options[] = { { "force", 'b', read_force } };

        *ret_force = false;
        return read_options(m, options, ELEMENTSOF(options), ret_force, error);
}

int options_read_none(sd_bus_message *m, sd_bus_error *error) {
        return read_options(m, NULL, 0, NULL, error);
}
