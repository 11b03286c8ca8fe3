package judge;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.lang.reflect.Constructor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/** The way from a stand-in to the JVM that has the program. */
public final class Bridge implements Values.Held {
    /** Of the test that is running. */
    static Bridge current;

    final ClassLoader loader;
    /** Why there is nobody to ask any more, or null. */
    String gone;

    private final DataInputStream in;
    private final DataOutputStream out;
    private final Map<Integer, Object> objects = new HashMap<>();
    private final IdentityHashMap<Object, Integer> numbers = new IdentityHashMap<>();

    Bridge(DataInputStream in, DataOutputStream out, ClassLoader loader) {
        this.in = in;
        this.out = out;
        this.loader = loader;
    }

    @Override
    public int number(Object value) {
        return numbers.getOrDefault(value, -1);
    }

    @Override
    public String kind(Object value) {
        return value.getClass().getName();
    }

    /** The stand-in for an object of the program; an opaque one where the test names no such class. */
    @Override
    public Object object(int number, String kind) throws IOException {
        if (!objects.containsKey(number)) {
            Object made;
            try {
                Class<?> found = loader.loadClass(kind);
                if (found.getClassLoader() != loader) {
                    throw new ClassNotFoundException(kind);
                }
                Constructor<?> constructor = found.getDeclaredConstructor(Bridge.class);
                constructor.setAccessible(true);
                made = constructor.newInstance(this);
            } catch (ReflectiveOperationException | LinkageError error) {
                made = new Values.Opaque();
            }
            bind(made, number);
        }
        return objects.get(number);
    }

    private void bind(Object value, int number) {
        objects.put(number, value);
        numbers.put(value, number);
    }

    /** Makes an object there for a stand-in that was made here. */
    public static void make(Object self, String owner, String member, Object[] args) {
        Bridge bridge = current;
        int[] number = {-1};
        bridge.ask(owner, member, null, args, number);
        bridge.bind(self, number[0]);
    }

    /** Calls a method there. */
    public static Object call(Object self, String owner, String member, Object[] args) {
        return current.ask(owner, member, self, args, null);
    }

    /** A result that has to be of a primitive's class. */
    public static <T> T as(Object value, Class<T> kind) {
        return kind.cast(value);
    }

    private Object ask(String owner, String member, Object self, Object[] args, int[] made) {
        if (gone != null) {
            throw new Lost(gone);
        }
        try {
            ByteArrayOutputStream content = new ByteArrayOutputStream();
            DataOutputStream frame = new DataOutputStream(content);
            frame.writeByte('C');
            Values.utf(frame, owner);
            Values.utf(frame, member);
            Values values = new Values(this);
            values.write(frame, self);
            List<Object> given = new ArrayList<>(Arrays.asList(args));
            values.write(frame, given);
            Values.frame(out, content);
            return heard(values, made);
        } catch (IOException error) {
            gone = "sends what is no value";
            throw new Lost(gone);
        }
    }

    private Object heard(Values values, int[] made) throws IOException {
        DataInputStream reply = new DataInputStream(new ByteArrayInputStream(Values.frame(in)));
        int kind = reply.readByte();
        if (kind != 'R') {
            gone = kind == 'X' ? Values.utf(reply) : "sends what is no answer";
            throw new Lost(gone);
        }
        int how = reply.readByte();
        if (how == 'v' && made != null) {
            if (reply.readByte() != 'o') {
                throw new IOException("no object");
            }
            made[0] = reply.readInt();
            return null;
        }
        if (how != 'v' && how != 'e') {
            throw new IOException("no answer");
        }
        Object value = how == 'v' ? values.read(reply) : null;
        String name = how == 'e' ? Values.utf(reply) : null;
        String message = how == 'e' ? Values.utf(reply) : null;
        try {
            change(values, reply);
        } catch (RuntimeException error) {
            throw new IOException("no such change");
        }
        if (how == 'e') {
            throw Bridge.<RuntimeException>sneaky(error(name, message));
        }
        return value;
    }

    private static void change(Values values, DataInputStream reply) throws IOException {
        for (int place = reply.readInt(); place >= 0; place = reply.readInt()) {
            Object container = values.seen().get(place);
            int count = reply.readInt();
            List<Object> items = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                items.add(values.read(reply));
            }
            Values.refill(container, items);
        }
    }

    private Throwable error(String name, String message) {
        try {
            boolean platform = name.startsWith("java.");
            Class<?> kind = platform ? Class.forName(name, true, null) : loader.loadClass(name);
            if (!Throwable.class.isAssignableFrom(kind)) {
                throw new ClassNotFoundException(name);
            }
            if (!platform) {
                Constructor<?> own = kind.getDeclaredConstructor(Bridge.class);
                own.setAccessible(true);
                return (Throwable) own.newInstance(this);
            }
            try {
                return (Throwable) kind.getConstructor(String.class).newInstance(message);
            } catch (NoSuchMethodException none) {
                return (Throwable) kind.getConstructor().newInstance();
            }
        } catch (ReflectiveOperationException | LinkageError | RuntimeException other) {
            return new RuntimeException(name);
        }
    }

    @SuppressWarnings("unchecked")
    private static <T extends Throwable> T sneaky(Throwable error) throws T {
        throw (T) error;
    }

    /** Nobody answers; a test that catches it changes nothing. */
    static final class Lost extends Error {
        private static final long serialVersionUID = 1L;

        Lost(String why) {
            super(why);
        }
    }
}
