package judge;

import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.util.Set;

/**
 * Whether a compiled class uses nothing of the platform but what can't outlast its program: a JVM that ran others is
 * not used again. An allowlist, over the class's own table of names.
 */
final class Reach {
    private static final Set<String> LANG = Set.of(
            "Object", "String", "StringBuilder", "StringBuffer", "Math", "StrictMath", "Integer", "Long", "Double", "Float",
            "Short", "Byte", "Character", "Boolean", "Number", "Iterable", "Comparable", "CharSequence", "Enum", "Record",
            "System", "AutoCloseable", "Cloneable", "Void", "Override", "SafeVarargs", "FunctionalInterface", "Throwable",
            "Exception", "Error", "Deprecated", "SuppressWarnings", "AssertionError");
    private static final Set<String> NOT_SYSTEM = Set.of(
            "setOut", "setErr", "setIn", "setProperty", "setProperties", "clearProperty", "getProperties", "exit", "load",
            "loadLibrary", "setSecurityManager", "gc", "runFinalization", "console", "inheritedChannel", "getLogger");
    private static final Set<String> NOT_UTIL = Set.of(
            "ServiceLoader", "Timer", "TimerTask", "TimeZone", "SimpleTimeZone", "ResourceBundle", "Properties");
    private static final Set<String> CALLED_BY_COMPILER = Set.of(
            "LambdaMetafactory", "StringConcatFactory", "MethodHandles$Lookup", "CallSite", "MethodType", "MethodHandle",
            "SerializedLambda");

    private Reach() {}

    static boolean plain(byte[] bytes, Set<String> own) {
        try {
            return new Table(bytes).plain(own);
        } catch (IOException | RuntimeException error) {
            return false;
        }
    }

    private static final class Table {
        private final int count;
        private final String[] texts;
        private final int[] tags;
        private final int[] first;
        private final int[] second;

        Table(byte[] bytes) throws IOException {
            DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes));
            in.readInt();
            in.readInt();
            count = in.readUnsignedShort();
            texts = new String[count];
            tags = new int[count];
            first = new int[count];
            second = new int[count];
            for (int i = 1; i < count; i++) {
                tags[i] = in.readUnsignedByte();
                switch (tags[i]) {
                    case 1: texts[i] = in.readUTF(); break;
                    case 3: case 4: in.readInt(); break;
                    case 5: case 6: in.readLong(); i++; break;
                    case 7: case 8: case 16: case 19: case 20: first[i] = in.readUnsignedShort(); break;
                    case 15: first[i] = in.readUnsignedByte(); second[i] = in.readUnsignedShort(); break;
                    default: first[i] = in.readUnsignedShort(); second[i] = in.readUnsignedShort();
                }
            }
        }

        boolean plain(Set<String> own) {
            for (int i = 1; i < count; i++) {
                if (tags[i] == 7 && !type(texts[first[i]], own)) {
                    return false;
                }
                if (tags[i] >= 9 && tags[i] <= 11 && !member(texts[first[first[i]]], texts[first[second[i]]])) {
                    return false;
                }
            }
            return true;
        }

        private static boolean type(String name, Set<String> own) {
            while (name.startsWith("[")) {
                name = name.substring(1);
            }
            if (name.startsWith("L") && name.endsWith(";")) {
                name = name.substring(1, name.length() - 1);
            }
            if (name.length() <= 1 || own.contains(name.replace('/', '.'))) {
                return true;
            }
            String last = name.substring(name.lastIndexOf('/') + 1);
            if (name.startsWith("java/lang/invoke/")) {
                return CALLED_BY_COMPILER.contains(last) || last.equals("MethodHandles");
            }
            if (name.startsWith("java/lang/") && name.indexOf('/', 10) < 0) {
                return LANG.contains(last) || last.endsWith("Exception") || last.endsWith("Error");
            }
            if (name.startsWith("java/util/") && name.indexOf('/', 10) < 0) {
                return !NOT_UTIL.contains(last.split("\\$")[0]);
            }
            return name.startsWith("java/util/stream/") || name.startsWith("java/util/function/")
                    || name.startsWith("java/util/regex/") || name.startsWith("java/math/")
                    || name.equals("java/security/MessageDigest") || name.endsWith("/NoSuchAlgorithmException")
                    || name.equals("java/nio/charset/StandardCharsets") || name.equals("java/nio/charset/Charset")
                    || name.startsWith("java/time/") || name.equals("java/io/PrintStream")
                    || name.equals("java/text/DecimalFormat");
        }

        private static boolean member(String owner, String name) {
            if (owner.equals("java/lang/System")) {
                return !NOT_SYSTEM.contains(name);
            }
            if (owner.startsWith("java/lang/invoke/MethodHandles") || name.startsWith("parallel")) {
                return owner.equals("java/lang/invoke/MethodHandles$Lookup") && name.equals("<none>");
            }
            return !name.equals("setDefault") && !name.equals("getClassLoader") && !name.equals("setAccessible")
                    && !name.startsWith("getDeclared") && !name.equals("forName") && !name.equals("getClass");
        }
    }
}
