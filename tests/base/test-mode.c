/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Modes as text. */
#include <errno.h>
#include <glib.h>

#include "mode.h"

static void test_modes(void) {
        static const struct {
                const char *s;
                int result;
                mode_t mode;
        } cases[] = {
                { "0", 0, 0 },          { "600", 0, 0600 },      { "0660", 0, 0660 },    { "777", 0, 0777 },
                { "1777", -ERANGE, 0 }, { "888", -EINVAL, 0 },   { "", -EINVAL, 0 },     { "-1", -EINVAL, 0 },
                { "u+w", -EINVAL, 0 },  { "0660 ", -EINVAL, 0 }, { "0x10", -EINVAL, 0 }, { "f", -EINVAL, 0 },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                mode_t mode = 0x5555;

                g_assert_cmpint(parse_mode(cases[i].s, &mode), ==, cases[i].result);
                g_assert_cmphex(mode, ==, (cases[i].result < 0 ? 0x5555 : cases[i].mode));
        }
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/modes", test_modes);
        return g_test_run();
}
