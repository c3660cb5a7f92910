/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Just enough of a test framework: TEST(suite, name) { ... } registers a test, CHECK and CHECK_EQ report
 * without stopping it, CHECK_THROWS wants an exception whose message holds a text.
 */
#ifndef SAILSIM_PIM_TESTS_CHECK_HH
#define SAILSIM_PIM_TESTS_CHECK_HH

#include <exception>
#include <iostream>
#include <string>
#include <vector>

namespace check
{

struct Test {
    std::string suite;
    std::string name;
    void (*body)();
};

std::vector<Test> &tests();
int &failures();

struct Registration {
    Registration(const char *suite, const char *name, void (*body)())
    {
        tests().push_back({suite, name, body});
    }
};

inline void report(const char *file, int line, const std::string &what)
{
    ++failures();
    std::cerr << file << ":" << line << ": " << what << "\n";
}

template <class A, class B>
void equal(const char *file, int line, const char *expression, const A &got, const B &expected)
{
    if (got == expected)
        return;
    std::cerr << file << ":" << line << ": " << expression << " is " << got << ", expected " << expected
              << "\n";
    ++failures();
}

template <class Function>
void throws(const char *file, int line, const char *expression, const std::string &text, Function function)
{
    try {
        function();
    } catch (const std::exception &error) {
        if (std::string(error.what()).find(text) == std::string::npos)
            report(file, line, std::string(expression) + " says: " + error.what());
        return;
    }
    report(file, line, std::string(expression) + " does not throw");
}

} // namespace check

#define TEST(suite, name)                                                                                    \
    static void suite##_##name();                                                                            \
    static const check::Registration suite##_##name##_registration(#suite, #name, suite##_##name);           \
    static void suite##_##name()

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            check::report(__FILE__, __LINE__, #condition " is false");                                       \
    } while (false)
#define CHECK_EQ(got, expected) check::equal(__FILE__, __LINE__, #got, got, expected)
#define CHECK_THROWS(text, ...) check::throws(__FILE__, __LINE__, #__VA_ARGS__, text, [&] { __VA_ARGS__; })

#endif
