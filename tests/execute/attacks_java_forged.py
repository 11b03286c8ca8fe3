# ruff: noqa: E501 (a program a line)
"""Wrong Java programs that lie about what they hold: in what they return, in the JVM, in the source.

Name: the program, and its test where that of `attacks` does not ask what the lie is about.
"""

from __future__ import annotations


def _test(*conditions: str) -> str:
    checks = " ".join(f"if (!({condition})) throw new AssertionError();" for condition in conditions)
    return f"import java.util.*;\npublic class Main {{ public static void main(String[] a) {{ Solution s = new Solution(); {checks} }} }}\n"


_LIST = _test("s.f(3).equals(Arrays.asList(9))", "s.f(3).size() == 1")
_HEAD = "import java.util.*;\n"

FORGED: dict[str, str | tuple[str, str]] = {
    "a list that equals everything": (_HEAD + "class Solution { public List<Integer> f(int x) { return new ArrayList<Integer>() { public boolean equals(Object o) { return true; } public int size() { return 1; } public int hashCode() { return 40; } }; } }", _LIST),
    "a list with another size at each look": (_HEAD + "class Solution { static int n = 0; public List<Integer> f(int x) { return new AbstractList<Integer>() { public Integer get(int i) { return n++; } public int size() { return 1 + n++ % 2; } public boolean equals(Object o) { return true; } }; } }", _LIST),
    "a list without end": (_HEAD + "class Solution { public List<Integer> f(int x) { return new AbstractList<Integer>() { public Integer get(int i) { return 9; } public int size() { return Integer.MAX_VALUE; } public boolean equals(Object o) { return true; } }; } }", _LIST),
    "a map that has every key": (_HEAD + "class Solution { public Map<String, Integer> f(int x) { return new HashMap<String, Integer>() { public boolean equals(Object o) { return true; } public boolean containsKey(Object o) { return true; } public Integer get(Object o) { return null; } }; } }", _test('s.f(3).equals(Collections.singletonMap("a", 9))')),
    "a set that holds everything": (_HEAD + "class Solution { public Set<Integer> f(int x) { return new HashSet<Integer>() { public boolean contains(Object o) { return true; } public boolean containsAll(Collection<?> c) { return true; } public boolean equals(Object o) { return true; } }; } }", _test("s.f(3).contains(9)", "s.f(3).equals(new HashSet<>(Arrays.asList(9)))")),
    "a number of its own": ("class Solution { public Number f(int x) { return new Number() { public int intValue() { return 0; } public long longValue() { return 0; } public float floatValue() { return 0; } public double doubleValue() { return 0; } public boolean equals(Object o) { return true; } }; } }", _test("s.f(3).equals(9)")),
    "an object that is text": ("class Solution { public Object f(int x) { return new Object() { public String toString() { return \"nine\"; } public boolean equals(Object o) { return true; } }; } }", _test('s.f(9).equals("nine")', 's.f(9) instanceof String')),
    "a comparator that says equal": (_HEAD + "class Solution { public Comparator<Object> f(int x) { return (a, b) -> 0; } }", _test("s.f(3).compare(1, 1) == 0", "s.f(3).equals(9)")),
    "text with a surrogate alone": ("class Solution { public String f(int x) { return \"\\ud800\"; } }", _test('s.f(9).equals("nine")')),
    "an array that holds itself": ("class Solution { public Object[] f(int x) { Object[] a = new Object[1]; a[0] = a; return a; } }", _test("s.f(3)[0].equals(9)")),
    "a list that holds itself": (_HEAD + "class Solution { public List<Object> f(int x) { List<Object> a = new ArrayList<>(); a.add(a); return a; } }", _LIST),
    "a result of gigabytes": ("class Solution { public int[] f(int x) { return new int[1 << 27]; } }", _test("s.f(3).length == 9")),
    "a deep result": (_HEAD + "class Solution { public List<Object> f(int x) { List<Object> a = new ArrayList<>(); for (int i = 0; i < 100000; i++) { List<Object> b = new ArrayList<>(); b.add(a); a = b; } return a; } }", _LIST),
    "an error that the test looks for": ("class Solution { public int f(int x) { throw new AssertionError() { public boolean equals(Object o) { return true; } }; } }", _test("s.f(3) == 9")),
    "an endless cause": "class Solution { public int f(int x) { class E extends RuntimeException { public synchronized Throwable getCause() { return new E(); } public String getMessage() { return new String(new char[1 << 26]); } public StackTraceElement[] getStackTrace() { while (true) { } } } throw new E(); } }",
    "a main that goes first": "class Main { static { System.exit(0); } public static void main(String... a) { } }\nclass Solution { public int f(int x) { return 0; } }",
    "a module": "module m { }\nclass Solution { public int f(int x) { return 0; } }",
    "classes in the judge's package": "package judge;\npublic class Bridge { public static Object call(Object s, String o, String m, Object[] a) { return 9; } }\nclass Compiler { }\nclass Solution { public int f(int x) { return 0; } }",
    "a package": "package java.lang;\nclass Solution { public int f(int x) { return 0; } }",
    "a class of the platform": "class Integer { }\nclass Object { public boolean equals(java.lang.Object o) { return true; } }\nclass Solution { public int f(int x) { return 0; } }",
    "a service": "class Solution { public int f(int x) { for (java.nio.file.spi.FileSystemProvider p : java.util.ServiceLoader.load(java.nio.file.spi.FileSystemProvider.class)) { } java.util.ServiceLoader.load(ClassLoader.getSystemClassLoader().getClass()); return 0; } }",
    "annotations without end": "@interface A { A[] value() default {}; }\n@A(" + "{@A(" * 300 + ")}" * 300 + ")\nclass Solution { public int f(int x) { return 0; } }",
    "a name of the stand-in": "class Stub { }\nclass Bridge { }\nclass Values { }\nclass Runner { static void run() { } }\nclass Judge { public static void main(String[] a) { } }\nclass Solution { public int f(int x) { return 0; } }",
    "a private lookup": "class Solution { public int f(int x) { try { java.lang.invoke.MethodHandles.Lookup l = java.lang.invoke.MethodHandles.lookup(); l.findStatic(Class.forName(\"java.lang.Shutdown\"), \"halt0\", java.lang.invoke.MethodType.methodType(void.class, int.class)).invoke(0); } catch (Throwable e) { } return 0; } }",
    "a finalizer": "class Solution { protected void finalize() { System.exit(0); } public int f(int x) { for (int i = 0; i < 1000; i++) new Solution(); System.gc(); System.runFinalization(); return 0; } }",
    "a serialised object": (_HEAD + "class Solution { public List<Integer> f(int x) { class L extends ArrayList<Integer> { Object writeReplace() { return Arrays.asList(9); } Object readResolve() { return Arrays.asList(9); } public boolean equals(Object o) { return true; } } return new L(); } }", _LIST),
}  # fmt: skip
"""Name: a wrong program; with a test of its own, or for that of `attacks`."""
