/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The header and the library can be used from C++. If names were mangled, this would not link. */
#include <mshare.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <type_traits>

#include <fcntl.h>

namespace {

struct Release {
        void operator()(mshare_region *region) const {
                mshare_region_release(region);
        }
};

using Region = std::unique_ptr<mshare_region, Release>;

static_assert(std::is_standard_layout<mshare_acquire_options>::value, "a structure of C");
static_assert(sizeof(mshare_info) == 16, "what the kernel gives");

int failures;

void check(int number, const char *what, bool ok) {
        std::printf("%s %d - %s\n", ok ? "ok" : "not ok", number, what);
        failures += !ok;
}

}

int main() {
        mshare_acquire_options options{};
        mshare_region *raw = nullptr;
        char *message = nullptr;

        options.size = sizeof(options);
        options.flags = MSHARE_ACQUIRE_DETACHED;
        const int r = mshare_region_acquire("a/b", O_RDWR, &options, &raw, &message);
        const std::string text = message ? message : "";
        std::free(message);
        Region region(raw);

        check(1, "a failure is an errno", r == -EINVAL && !region);
        check(2, "and a sentence", text.find("'a/b'") != std::string::npos);
        check(3, "the system calls are there", mshare("a/b", nullptr, 0, O_RDWR, 0) == -1 && mshare_unlink("a/b") == -1);
        std::puts("1..3");
        return failures != 0;
}
