# One line per unit-test program: its name and the sources under test (besides tests/unit/NAME.c itself).
# Every program also gets tests/fake/host.c (assert_fail, log_sink) and links cmocka.
UNITS :=
