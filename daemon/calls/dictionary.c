/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Goes through a dictionary of the bus. It knows no keys: options of calls and credentials of callers are read with it. */

#include "calls/dictionary.h"

static int read_entry(sd_bus_message *m, DictionaryEntry entry, void *userdata, sd_bus_error *error) {
        const char *key;
        int r;

        r = sd_bus_message_read(m, "s", &key);
        if (r >= 0)
                r = entry(m, key, userdata, error);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

int dictionary_read(sd_bus_message *m, DictionaryEntry entry, void *userdata, sd_bus_error *error) {
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = read_entry(m, entry, userdata, error);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}
