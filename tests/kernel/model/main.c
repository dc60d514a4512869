// SPDX-License-Identifier: GPL-2.0-only
/*
 * tlb-model: does any order of events leave a stale TLB entry in use?
 *
 *   tlb-model             the small scenarios, and all mutations; speaks TAP
 *   tlb-model --long      the large scenarios as well
 *   tlb-model --trace SCENARIO [MUTATION]
 *                         one search, with the way to what it finds
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

const Scenario *model_scenario;
int model_mutation = -1;

/* 48 bytes each, and 12 to find it again. */
enum { SMALL_STATES = 4000000, LARGE_STATES = 60000000 };

static unsigned points, failures;

static void point(bool ok, const char *text, const char *more, const SearchResult *result) {
        points++;
        failures += !ok;
        printf("%s %u - %s: %s (%lu states, %u steps)\n", ok ? "ok" : "not ok", points, text, more, result->states,
               result->depth);
        fflush(stdout);
}

static const Scenario *find_scenario(const char *name) {
        const Scenario *scenario;

        for (scenario = model_scenarios; scenario->name; scenario++)
                if (strcmp(scenario->name, name) == 0)
                        return scenario;
        fprintf(stderr, "tlb-model: no such scenario: '%s'\n", name);
        exit(2);
}

static int find_mutation(const char *name) {
        int i;

        for (i = 0; model_mutations[i].name; i++)
                if (strcmp(model_mutations[i].name, name) == 0)
                        return i;
        fprintf(stderr, "tlb-model: no such mutation: '%s'\n", name);
        exit(2);
}

static int trace(const char *scenario, const char *mutation) {
        SearchResult result =
                search_run(find_scenario(scenario), mutation ? find_mutation(mutation) : -1, LARGE_STATES, true);

        printf("# %s: %lu states, %u steps%s\n", result.violation ?: "no violation", result.states, result.depth,
               result.full ? ", and there are more" : "");
        return result.violation || result.full;
}

static void search_scenario(const Scenario *scenario) {
        SearchResult result = search_run(scenario, -1, scenario->large ? LARGE_STATES : SMALL_STATES, true);

        point(!result.violation && !result.full, scenario->name,
              result.violation
                      ?: result.full ? "too many states: nothing is shown"
                                     : "no violation",
              &result);
}

static void search_mutation(int mutation) {
        const Mutation *m = &model_mutations[mutation];
        SearchResult result = search_run(find_scenario(m->scenario), mutation, SMALL_STATES, false);

        if (m->redundant) {
                point(!result.violation && !result.full, m->name, result.violation ?: "redundant, as is said of it",
                      &result);
                return;
        }
        if (!result.violation)
                printf("# %s (%s) is not noticed\n", m->name, m->what);
        point(result.violation != NULL, m->name, result.violation ?: "not noticed", &result);
}

int main(int argc, char **argv) {
        const Scenario *scenario;
        bool large = argc == 2 && strcmp(argv[1], "--long") == 0;
        int i;

        if ((argc == 3 || argc == 4) && strcmp(argv[1], "--trace") == 0)
                return trace(argv[2], argv[3]);
        if (argc != 1 && !large) {
                fprintf(stderr, "usage: tlb-model [--long | --trace SCENARIO [MUTATION]]\n");
                return 2;
        }

        /* Under valgrind a small search takes minutes. */
        if (getenv("MSHARE_VALGRIND")) {
                search_scenario(find_scenario("donate-ro"));
                search_mutation(find_mutation("no-last-flush"));
                printf("1..%u\n", points);
                return failures > 0;
        }

        for (scenario = model_scenarios; scenario->name; scenario++)
                if (large || !scenario->large)
                        search_scenario(scenario);
        for (i = 0; model_mutations[i].name; i++)
                search_mutation(i);
        printf("1..%u\n", points);
        return failures > 0;
}
