package judge;

import java.io.BufferedOutputStream;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.Executable;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.TimeZone;

/**
 * Runs programs, and has never seen a test: it gets compiled classes, and then calls with arguments, which it answers
 * with results. The JVM sits in a jail; it ends itself when a program leaves something behind.
 *
 * Frames on stdin: L (classes of a program, its limits), C (a call), E (the end of a program). On stdout: R (a result
 * or an exception), T (too late: this JVM ends), K or S (clean or spent: as good as new, or about to end).
 */
public final class Runner implements Values.Held {
    private static final class Loader extends ClassLoader {
        private final Map<String, byte[]> classes;

        Loader(Map<String, byte[]> classes) {
            super(ClassLoader.getPlatformClassLoader());
            this.classes = classes;
        }

        @Override
        protected Class<?> findClass(String name) throws ClassNotFoundException {
            byte[] bytes = classes.get(name);
            if (bytes == null) {
                throw new ClassNotFoundException(name);
            }
            return defineClass(name, bytes, 0, bytes.length);
        }
    }

    private final PrintStream silent = new PrintStream(OutputStream.nullOutputStream());
    private final DataInputStream in = new DataInputStream(new FileInputStream(FileDescriptor.in));
    private final DataOutputStream out =
            new DataOutputStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out)));

    private Loader loader;
    private ThreadGroup group;
    private Thread thread;
    private long cpu;
    private long wall;
    private final long[] spent = new long[1];
    private List<Object> objects = new ArrayList<>();
    private IdentityHashMap<Object, Integer> numbers = new IdentityHashMap<>();
    private volatile Runnable task;
    private volatile boolean busy;
    private Properties properties;
    private Locale locale;
    private TimeZone zone;

    @Override
    public int number(Object value) {
        if (!(value.getClass().getClassLoader() instanceof Loader)) {
            return -1;
        }
        return numbers.computeIfAbsent(value, one -> {
            objects.add(one);
            return objects.size() - 1;
        });
    }

    @Override
    public String kind(Object value) {
        return value.getClass().getName();
    }

    @Override
    public Object object(int number, String kind) {
        return objects.get(number);
    }

    private void load(DataInputStream frame) throws IOException {
        cpu = frame.readLong();
        wall = frame.readLong();
        Map<String, byte[]> classes = new HashMap<>();
        int count = frame.readInt();
        for (int i = 0; i < count; i++) {
            String name = Values.utf(frame);
            byte[] bytes = new byte[frame.readInt()];
            frame.readFully(bytes);
            classes.put(name, bytes);
        }
        loader = new Loader(classes);
        objects = new ArrayList<>();
        numbers = new IdentityHashMap<>();
        spent[0] = 0;
        properties = (Properties) System.getProperties().clone();
        locale = Locale.getDefault();
        zone = TimeZone.getDefault();
        System.setOut(silent);
        System.setErr(silent);
        System.setIn(new ByteArrayInputStream(new byte[0]));
        group = new ThreadGroup("program");
        thread = new Thread(group, this::work, "main");
        thread.setDaemon(true);
        busy = false;
        task = null;
        thread.start();
    }

    private void work() {
        Loader mine = loader;
        while (true) {
            synchronized (this) {
                while (!busy && loader == mine) {
                    try {
                        wait();
                    } catch (InterruptedException again) {
                        continue;
                    }
                }
                if (loader != mine) {
                    return;
                }
            }
            task.run();
            synchronized (this) {
                busy = false;
                notifyAll();
            }
        }
    }

    /** The answer to one call, or null when its time is over. */
    private byte[] call(DataInputStream frame) throws Exception {
        byte[][] answer = new byte[1][];
        long before = cpuTime();
        task = () -> answer[0] = answered(frame);
        synchronized (this) {
            busy = true;
            notifyAll();
        }
        return await(before) ? answer[0] : null;
    }

    private boolean await(long before) throws Exception {
        long begin = System.nanoTime();
        long look = begin + wall * 500_000;
        long earlier = spent[0];
        long pause = 1;
        long start = spent[0];
        while (true) {
            synchronized (this) {
                if (busy) {
                    wait(pause);
                }
                if (!busy) {
                    return true;
                }
            }
            spent[0] = start + Math.max(0, cpuTime() - before);
            long now = System.nanoTime();
            if (spent[0] > cpu || now > begin + 10 * wall * 1_000_000) {
                return false;
            }
            if (now > look) {
                // The wall cap ends what sleeps, not what a busy machine keeps from running.
                if (now > begin + wall * 1_000_000 && (spent[0] - earlier) * 1000 < wall) {
                    return false;
                }
                earlier = spent[0];
                look = now + wall * 500_000;
            }
            pause = Math.min(20, pause * 2);
        }
    }

    private byte[] answered(DataInputStream frame) {
        ByteArrayOutputStream content = new ByteArrayOutputStream();
        DataOutputStream reply = new DataOutputStream(content);
        try {
            String owner = Values.utf(frame);
            String member = Values.utf(frame);
            Values values = new Values(this);
            Object self = values.read(frame);
            Object[] args = ((List<?>) values.read(frame)).toArray();
            List<Object> met = new ArrayList<>(values.seen());
            Object[][] before = new Object[met.size()][];
            for (int i = 0; i < before.length; i++) {
                before[i] = Values.contents(met.get(i));
            }
            Object result = null;
            Throwable error = null;
            try {
                result = invoke(owner, member, self, args);
            } catch (InvocationTargetException wrapped) {
                error = wrapped.getCause();
            } catch (Throwable other) {
                error = other;
            }
            reply.writeByte('R');
            reply.writeByte(error == null ? 'v' : 'e');
            if (error == null) {
                values.write(reply, result);
            } else {
                Values.utf(reply, error.getClass().getName());
                Values.utf(reply, String.valueOf(error.getMessage()));
            }
            for (int i = 0; i < before.length; i++) {
                Object[] now = before[i] == null ? null : Values.contents(met.get(i));
                if (now != null && Values.changed(before[i], now)) {
                    reply.writeInt(i);
                    reply.writeInt(now.length);
                    for (Object item : now) {
                        values.write(reply, item);
                    }
                }
            }
            reply.writeInt(-1);
            return content.toByteArray();
        } catch (Throwable error) {
            return new byte[] {'R', '!'};
        }
    }

    private Object invoke(String owner, String member, Object self, Object[] args) throws Throwable {
        Class<?> kind = Class.forName(owner, true, loader);
        if (member.startsWith("<init>")) {
            for (Constructor<?> one : kind.getDeclaredConstructors()) {
                if (name(one).equals(member)) {
                    one.setAccessible(true);
                    return one.newInstance(args);
                }
            }
        }
        for (Method one : kind.getDeclaredMethods()) {
            if (!one.isSynthetic() && name(one).equals(member)) {
                one.setAccessible(true);
                return one.invoke(Modifier.isStatic(one.getModifiers()) ? null : self, args);
            }
        }
        throw new NoSuchMethodError(member);
    }

    /** How both sides call a method or constructor. */
    static String name(Executable one) {
        StringBuilder text = new StringBuilder(one instanceof Constructor ? "<init>" : one.getName()).append('(');
        for (Class<?> kind : one.getParameterTypes()) {
            text.append(kind.getName()).append(',');
        }
        return text.append(')').toString();
    }

    /** Whether this JVM is as good as new. */
    private boolean end() throws Exception {
        synchronized (this) {
            loader = null;
            notifyAll();
        }
        thread.join(1000);
        boolean clean = !thread.isAlive() && group.activeCount() == 0;
        System.setProperties(properties);
        Locale.setDefault(locale);
        TimeZone.setDefault(zone);
        return clean;
    }

    private void serve() throws Exception {
        while (true) {
            DataInputStream frame = new DataInputStream(new ByteArrayInputStream(Values.frame(in)));
            ByteArrayOutputStream content = new ByteArrayOutputStream();
            int kind = frame.readByte();
            if (kind == 'L') {
                load(frame);
                continue;
            }
            if (kind == 'C') {
                byte[] answer = call(frame);
                content.write(answer == null ? new byte[] {'T'} : answer);
                Values.frame(out, content);
                if (answer == null) {
                    Runtime.getRuntime().halt(0);
                }
                continue;
            }
            boolean clean = end();
            content.write(clean ? 'K' : 'S');
            new DataOutputStream(content).writeLong(spent[0]);
            Values.frame(out, content);
            if (!clean) {
                Runtime.getRuntime().halt(0);
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        Runner runner = new Runner();
        ByteArrayOutputStream ready = new ByteArrayOutputStream();
        ready.write('!');
        Values.frame(runner.out, ready);
        try {
            runner.serve();
        } catch (EOFException end) {
            Runtime.getRuntime().halt(0);
        }
    }

    /** CPU milliseconds of this process, from the operating system: no management module is needed for it. */
    private static long cpuTime() {
        return ProcessHandle.current().info().totalCpuDuration().map(time -> time.toMillis()).orElse(0L);
    }
}
