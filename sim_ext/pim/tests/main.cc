/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Runs all tests, or those of the suites that are named. Fails if a name has none.
 */
#include "check.hh"

namespace check
{

std::vector<Test> &tests()
{
    static std::vector<Test> all;
    return all;
}

int &failures()
{
    static int count = 0;
    return count;
}

} // namespace check

int main(int argc, char **argv)
{
    std::vector<std::string> suites(argv + 1, argv + argc);
    int run = 0;
    for (const check::Test &test : check::tests()) {
        bool wanted = suites.empty();
        for (const std::string &suite : suites)
            wanted = wanted || suite == test.suite;
        if (!wanted)
            continue;
        ++run;
        const int before = check::failures();
        try {
            test.body();
        } catch (const std::exception &error) {
            check::report(test.name.c_str(), 0, std::string("unexpected exception: ") + error.what());
        }
        std::cout << (check::failures() == before ? "ok      " : "FAILED  ") << test.suite << "." << test.name
                  << "\n";
    }
    if (run == 0)
        std::cerr << "no such suite\n";
    return run == 0 || check::failures() != 0 ? 1 : 0;
}
