package judge;

import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.lang.reflect.Array;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.AbstractMap;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.LinkedList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.Stack;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.Vector;
import java.util.stream.Stream;

/**
 * Values between the JVM that judges and the one that runs programs: plain data is rebuilt, objects of the program's
 * own classes are held and known by number. What can change, and every text, is numbered as it is met, so that an
 * argument that comes back is the same object.
 */
final class Values {
    /** What does not travel: equals nothing. */
    static final class Opaque {}

    /** Objects that stay on the program's side. */
    interface Held {
        /** The number of an object that is no plain data, or -1 where it can't be held. */
        int number(Object value);

        /** The name of the class of such an object. */
        String kind(Object value);

        /** The object, or what stands for it. */
        Object object(int number, String kind) throws IOException;
    }

    private static final int DEPTH = 400;
    private final Held held;
    private final List<Object> seen = new ArrayList<>();
    private final IdentityHashMap<Object, Integer> numbers = new IdentityHashMap<>();

    Values(Held held) {
        this.held = held;
    }

    /** Containers and texts met so far, in order. */
    List<Object> seen() {
        return seen;
    }

    private void meet(Object value) {
        numbers.put(value, seen.size());
        seen.add(value);
    }

    static byte[] text(String text) {
        byte[] bytes = new byte[2 * text.length()];
        for (int i = 0; i < text.length(); i++) {
            bytes[2 * i] = (byte) (text.charAt(i) >> 8);
            bytes[2 * i + 1] = (byte) text.charAt(i);
        }
        return bytes;
    }

    private static String text(DataInputStream in) throws IOException {
        byte[] bytes = new byte[size(in)];
        in.readFully(bytes);
        char[] chars = new char[bytes.length / 2];
        for (int i = 0; i < chars.length; i++) {
            chars[i] = (char) ((bytes[2 * i] & 255) << 8 | bytes[2 * i + 1] & 255);
        }
        return new String(chars);
    }

    private static int size(DataInputStream in) throws IOException {
        int size = in.readInt();
        if (size < 0 || size > in.available()) {
            throw new EOFException("a size that is none");
        }
        return size;
    }

    private static void bytes(DataOutputStream out, byte[] bytes) throws IOException {
        out.writeInt(bytes.length);
        out.write(bytes);
    }

    void write(DataOutputStream out, Object value) throws IOException {
        write(out, value, 0);
    }

    private void write(DataOutputStream out, Object value, int depth) throws IOException {
        if (value == null) {
            out.writeByte('n');
            return;
        }
        if (depth > DEPTH) {
            throw new IOException("too deep");
        }
        Integer number = numbers.get(value);
        if (number != null) {
            out.writeByte('=');
            out.writeInt(number);
            return;
        }
        Class<?> kind = value.getClass();
        if (kind == Integer.class) {
            out.writeByte('i');
            out.writeInt((Integer) value);
        } else if (kind == Boolean.class) {
            out.writeByte('z');
            out.writeBoolean((Boolean) value);
        } else if (kind == Double.class) {
            out.writeByte('d');
            out.writeDouble((Double) value);
        } else if (kind == String.class) {
            meet(value);
            out.writeByte(((String) value).intern() == value ? 'S' : 's');
            bytes(out, text((String) value));
        } else if (kind == Long.class) {
            out.writeByte('j');
            out.writeLong((Long) value);
        } else if (kind == Character.class) {
            out.writeByte('c');
            out.writeChar((Character) value);
        } else if (kind == Float.class) {
            out.writeByte('f');
            out.writeFloat((Float) value);
        } else if (kind == Short.class) {
            out.writeByte('h');
            out.writeShort((Short) value);
        } else if (kind == Byte.class) {
            out.writeByte('b');
            out.writeByte((Byte) value);
        } else if (kind == BigInteger.class) {
            out.writeByte('I');
            bytes(out, ((BigInteger) value).toByteArray());
        } else if (kind == BigDecimal.class) {
            out.writeByte('D');
            out.writeInt(((BigDecimal) value).scale());
            bytes(out, ((BigDecimal) value).unscaledValue().toByteArray());
        } else if (kind == StringBuilder.class || kind == StringBuffer.class) {
            out.writeByte('B');
            bytes(out, text(value.toString()));
        } else if (value instanceof Optional) {
            out.writeByte('O');
            write(out, ((Optional<?>) value).orElse(null), depth + 1);
        } else if (value instanceof OptionalInt) {
            out.writeByte('1');
            OptionalInt one = (OptionalInt) value;
            write(out, one.isPresent() ? (Object) one.getAsInt() : null, depth + 1);
        } else if (value instanceof OptionalLong) {
            out.writeByte('2');
            OptionalLong one = (OptionalLong) value;
            write(out, one.isPresent() ? (Object) one.getAsLong() : null, depth + 1);
        } else if (value instanceof OptionalDouble) {
            out.writeByte('3');
            OptionalDouble one = (OptionalDouble) value;
            write(out, one.isPresent() ? (Object) one.getAsDouble() : null, depth + 1);
        } else if (kind.isArray()) {
            meet(value);
            out.writeByte('[');
            bytes(out, text(element(kind)));
            items(out, arrayItems(value), depth);
        } else if (value instanceof Collection) {
            meet(value);
            out.writeByte('L');
            out.writeByte(form((Collection<?>) value));
            items(out, ((Collection<?>) value).toArray(), depth);
        } else if (value instanceof Map) {
            meet(value);
            out.writeByte('M');
            out.writeByte(value instanceof SortedMap ? 't' : value instanceof LinkedHashMap ? 'l' : 'h');
            items(out, pairs((Map<?, ?>) value), depth);
        } else if (value instanceof Map.Entry) {
            out.writeByte('E');
            write(out, ((Map.Entry<?, ?>) value).getKey(), depth + 1);
            write(out, ((Map.Entry<?, ?>) value).getValue(), depth + 1);
        } else if (value instanceof Stream) {
            out.writeByte('T');
            items(out, ((Stream<?>) value).toArray(), depth);
        } else {
            int known = held.number(value);
            out.writeByte(known < 0 ? '?' : 'o');
            if (known >= 0) {
                out.writeInt(known);
                bytes(out, text(held.kind(value)));
            }
        }
    }

    private static String element(Class<?> kind) {
        Class<?> part = kind.getComponentType();
        if (part.isArray()) {
            return "[" + element(part);
        }
        return part.isPrimitive() || part.getName().startsWith("java.") ? part.getName() : "java.lang.Object";
    }

    static Object[] arrayItems(Object array) {
        Object[] items = new Object[Array.getLength(array)];
        for (int i = 0; i < items.length; i++) {
            items[i] = Array.get(array, i);
        }
        return items;
    }

    private static Object[] pairs(Map<?, ?> map) {
        List<Object> items = new ArrayList<>();
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            items.add(entry.getKey());
            items.add(entry.getValue());
        }
        return items.toArray();
    }

    private static char form(Collection<?> value) {
        if (value instanceof SortedSet) {
            return 't';
        }
        if (value instanceof LinkedHashSet) {
            return 'l';
        }
        if (value instanceof Set) {
            return 'h';
        }
        if (value instanceof LinkedList) {
            return 'k';
        }
        if (value instanceof Stack) {
            return 's';
        }
        if (value instanceof Vector) {
            return 'v';
        }
        if (value instanceof PriorityQueue) {
            return 'q';
        }
        if (value instanceof Deque) {
            return 'd';
        }
        String name = value.getClass().getName();
        if (name.equals("java.util.Arrays$ArrayList")) {
            return 'f';
        }
        if (name.startsWith("java.util.ImmutableCollections") || name.startsWith("java.util.Collections$Unmodifiable")) {
            return 'u';
        }
        return 'a';
    }

    private void items(DataOutputStream out, Object[] items, int depth) throws IOException {
        out.writeInt(items.length);
        for (Object item : items) {
            write(out, item, depth + 1);
        }
    }

    Object read(DataInputStream in) throws IOException {
        return read(in, 0);
    }

    private Object read(DataInputStream in, int depth) throws IOException {
        if (depth > DEPTH + 2) {
            throw new EOFException("too deep");
        }
        int tag = in.readByte();
        switch (tag) {
            case 'n': return null;
            case 'i': return in.readInt();
            case 'z': return in.readBoolean();
            case 'd': return in.readDouble();
            case 'j': return in.readLong();
            case 'c': return in.readChar();
            case 'f': return in.readFloat();
            case 'h': return in.readShort();
            case 'b': return in.readByte();
            case '?': return new Opaque();
            case '=': return same(in.readInt());
            case 's': return met(text(in));
            case 'S': return met(text(in).intern());
            case 'I': return new BigInteger(raw(in));
            case 'D': {
                int scale = in.readInt();
                return new BigDecimal(new BigInteger(raw(in)), scale);
            }
            case 'B': return new StringBuilder(text(in));
            case 'O': return Optional.ofNullable(read(in, depth + 1));
            case '1': {
                Object one = read(in, depth + 1);
                return one instanceof Integer ? OptionalInt.of((Integer) one) : OptionalInt.empty();
            }
            case '2': {
                Object one = read(in, depth + 1);
                return one instanceof Long ? OptionalLong.of((Long) one) : OptionalLong.empty();
            }
            case '3': {
                Object one = read(in, depth + 1);
                return one instanceof Double ? OptionalDouble.of((Double) one) : OptionalDouble.empty();
            }
            case '[': return array(in, depth);
            case 'L': return collection(in, depth);
            case 'M': return map(in, depth);
            case 'E': {
                Object key = read(in, depth + 1);
                return new AbstractMap.SimpleEntry<>(key, read(in, depth + 1));
            }
            case 'T': return Arrays.stream(list(in, depth, new ArrayList<>()).toArray());
            case 'o': {
                int number = in.readInt();
                return held.object(number, text(in));
            }
            default: throw new EOFException("no value");
        }
    }

    private Object met(Object value) {
        meet(value);
        return value;
    }

    private Object same(int number) throws IOException {
        if (number < 0 || number >= seen.size()) {
            throw new EOFException("no such object");
        }
        return seen.get(number);
    }

    private static byte[] raw(DataInputStream in) throws IOException {
        byte[] bytes = new byte[size(in)];
        in.readFully(bytes);
        if (bytes.length == 0) {
            throw new EOFException("no number");
        }
        return bytes;
    }

    private <T extends Collection<Object>> T list(DataInputStream in, int depth, T into) throws IOException {
        int count = size(in);
        for (int i = 0; i < count; i++) {
            into.add(read(in, depth + 1));
        }
        return into;
    }

    private Object array(DataInputStream in, int depth) throws IOException {
        String name = text(in);
        int count = size(in);
        Object array;
        try {
            array = Array.newInstance(component(name), count);
        } catch (ReflectiveOperationException | RuntimeException error) {
            throw new EOFException("no array");
        }
        meet(array);
        for (int i = 0; i < count; i++) {
            try {
                Array.set(array, i, read(in, depth + 1));
            } catch (IllegalArgumentException error) {
                throw new EOFException("no item of such an array");
            }
        }
        return array;
    }

    private static final Map<String, Class<?>> PRIMITIVES = Map.of(
            "int", int.class, "long", long.class, "double", double.class, "boolean", boolean.class, "char", char.class,
            "byte", byte.class, "short", short.class, "float", float.class);

    private static Class<?> component(String name) throws ReflectiveOperationException {
        if (name.startsWith("[")) {
            return Array.newInstance(component(name.substring(1)), 0).getClass();
        }
        Class<?> primitive = PRIMITIVES.get(name);
        if (primitive != null) {
            return primitive;
        }
        return name.startsWith("java.lang.") || name.startsWith("java.util.") || name.startsWith("java.math.")
                ? Class.forName(name, false, null) : Object.class;
    }

    private Object collection(DataInputStream in, int depth) throws IOException {
        int form = in.readByte();
        try {
            if (form == 'f') {
                int place = seen.size();
                meet(new Opaque());
                Object made = Arrays.asList(list(in, depth, new ArrayList<>()).toArray());
                return replace(place, made);
            }
            if (form == 'u') {
                int place = seen.size();
                meet(new Opaque());
                return replace(place, Collections.unmodifiableList(list(in, depth, new ArrayList<>())));
            }
            Collection<Object> into;
            switch (form) {
                case 't': into = new TreeSet<>(); break;
                case 'l': into = new LinkedHashSet<>(); break;
                case 'h': into = new HashSet<>(); break;
                case 'k': into = new LinkedList<>(); break;
                case 's': into = new Stack<>(); break;
                case 'v': into = new Vector<>(); break;
                case 'q': into = new PriorityQueue<>(); break;
                case 'd': into = new ArrayDeque<>(); break;
                default: into = new ArrayList<>();
            }
            meet(into);
            return list(in, depth, into);
        } catch (ClassCastException | NullPointerException error) {
            throw new EOFException("no such collection");
        }
    }

    private Object replace(int place, Object made) {
        seen.set(place, made);
        numbers.put(made, place);
        return made;
    }

    private Object map(DataInputStream in, int depth) throws IOException {
        int form = in.readByte();
        Map<Object, Object> into = form == 't' ? new TreeMap<>() : form == 'l' ? new LinkedHashMap<>() : new HashMap<>();
        meet(into);
        int count = size(in) / 2;
        try {
            for (int i = 0; i < count; i++) {
                Object key = read(in, depth + 1);
                into.put(key, read(in, depth + 1));
            }
        } catch (ClassCastException | NullPointerException error) {
            throw new EOFException("no such map");
        }
        return into;
    }

    /** What a container holds now, or null for what can't change. */
    static Object[] contents(Object value) {
        if (value.getClass().isArray()) {
            return arrayItems(value);
        }
        if (value instanceof Collection) {
            return ((Collection<?>) value).toArray();
        }
        return value instanceof Map ? pairs((Map<?, ?>) value) : null;
    }

    static boolean changed(Object[] before, Object[] now) {
        if (before.length != now.length) {
            return true;
        }
        for (int i = 0; i < now.length; i++) {
            if (before[i] != now[i] && !(before[i] != null && simple(before[i]) && before[i].equals(now[i]))) {
                return true;
            }
        }
        return false;
    }

    private static boolean simple(Object value) {
        return value instanceof Number || value instanceof Character || value instanceof Boolean;
    }

    @SuppressWarnings("unchecked")
    static void refill(Object container, List<Object> items) {
        if (container.getClass().isArray()) {
            for (int i = 0; i < Math.min(items.size(), Array.getLength(container)); i++) {
                Array.set(container, i, items.get(i));
            }
        } else if (container instanceof Map) {
            Map<Object, Object> map = (Map<Object, Object>) container;
            map.clear();
            for (int i = 0; i + 1 < items.size(); i += 2) {
                map.put(items.get(i), items.get(i + 1));
            }
        } else if (container instanceof List && ((List<Object>) container).size() == items.size()) {
            for (int i = 0; i < items.size(); i++) {
                ((List<Object>) container).set(i, items.get(i));
            }
        } else if (container instanceof Collection) {
            ((Collection<Object>) container).clear();
            ((Collection<Object>) container).addAll(items);
        }
    }

    /** A frame: kind, then content. */
    static byte[] frame(DataInputStream in) throws IOException {
        byte[] bytes = new byte[in.readInt()];
        in.readFully(bytes);
        return bytes;
    }

    static void frame(DataOutputStream out, ByteArrayOutputStream content) throws IOException {
        out.writeInt(content.size());
        content.writeTo(out);
        out.flush();
    }

    static String utf(DataInputStream in) throws IOException {
        byte[] bytes = new byte[size(in)];
        in.readFully(bytes);
        return new String(bytes, StandardCharsets.UTF_8);
    }

    static void utf(DataOutputStream out, String text) throws IOException {
        bytes(out, text.getBytes(StandardCharsets.UTF_8));
    }
}
