package judge;

import java.lang.reflect.Constructor;
import java.lang.reflect.Executable;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.util.Set;
import java.util.StringJoiner;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Sources of stand-ins for the top-level classes of a program: what of them a test can call. A class with the name of
 * one of the platform's, which the test means when it says that name, gets none.
 */
final class Stub {
    private static final Pattern PACKAGE = Pattern.compile("import ([\\w.]+)\\.\\*;");

    private Stub() {}

    static String sources(Set<String> names, ClassLoader classes, String imports) {
        StringBuilder text = new StringBuilder();
        for (String name : new TreeSet<>(names)) {
            if (name.indexOf('$') < 0 && name.indexOf('.') < 0 && !shadows(name, imports)) {
                try {
                    text.append(source(Class.forName(name, false, classes)));
                } catch (ClassNotFoundException none) {
                    continue;
                }
            }
        }
        return text.toString();
    }

    private static boolean shadows(String name, String imports) {
        if (exists("java.lang." + name) || imports.contains("." + name + ";")) {
            return true;
        }
        for (Matcher found = PACKAGE.matcher(imports); found.find(); ) {
            if (exists(found.group(1) + "." + name)) {
                return true;
            }
        }
        return false;
    }

    private static boolean exists(String name) {
        try {
            Class.forName(name, false, null);
            return true;
        } catch (ClassNotFoundException | LinkageError none) {
            return false;
        }
    }

    private static String source(Class<?> kind) {
        if (kind.isInterface() || kind.isEnum()) {
            return "";
        }
        StringBuilder text = new StringBuilder("class ").append(kind.getName()).append(variables(kind.getTypeParameters()));
        String base = base(kind);
        text.append(base.isEmpty() ? "" : " extends " + base).append(" {\n");
        text.append(kind.getName()).append("(judge.Bridge bridge) {}\n");
        for (Constructor<?> one : kind.getDeclaredConstructors()) {
            if (!Modifier.isPrivate(one.getModifiers()) && !one.isSynthetic()) {
                text.append(variables(one.getTypeParameters())).append(' ').append(kind.getName());
                text.append(parameters(one)).append("{ judge.Bridge.make(this, ").append(call(kind, one)).append("); }\n");
            }
        }
        for (Method one : kind.getDeclaredMethods()) {
            if (!Modifier.isPrivate(one.getModifiers()) && !one.isSynthetic() && !identity(one)) {
                text.append(method(kind, one));
            }
        }
        return text.append("}\n").toString();
    }

    /** Equality is decided by the test's side alone. */
    private static boolean identity(Method one) {
        return one.getName().equals("hashCode") && one.getParameterCount() == 0
                || one.getName().equals("equals") && one.getParameterCount() == 1
                || one.getName().equals("finalize") || one.getName().equals("clone");
    }

    private static String base(Class<?> kind) {
        for (Class<?> one : new Class<?>[] {RuntimeException.class, Exception.class, Error.class, Throwable.class}) {
            if (one.isAssignableFrom(kind)) {
                return one.getName();
            }
        }
        return "";
    }

    private static String method(Class<?> kind, Method one) {
        boolean fixed = Modifier.isStatic(one.getModifiers());
        Class<?> result = one.getReturnType();
        String type = name(one.getGenericReturnType());
        StringBuilder text = new StringBuilder("@SuppressWarnings(\"unchecked\") ");
        text.append(visibility(one)).append(fixed ? "static " : "").append(variables(one.getTypeParameters()));
        text.append(' ').append(type).append(' ').append(one.getName()).append(parameters(one)).append("{ ");
        String call = "judge.Bridge.call(" + (fixed ? "null" : "this") + ", " + call(kind, one) + ")";
        if (result == void.class) {
            text.append(call).append(';');
        } else if (result.isPrimitive()) {
            text.append("return judge.Bridge.as(").append(call).append(", ").append(box(result)).append(".class);");
        } else {
            text.append("return (").append(type).append(") ").append(call).append(';');
        }
        return text.append(" }\n").toString();
    }

    private static String visibility(Method one) {
        return Modifier.isPublic(one.getModifiers()) ? "public " : Modifier.isProtected(one.getModifiers()) ? "protected " : "";
    }

    private static String call(Class<?> kind, Executable one) {
        StringJoiner args = new StringJoiner(", ", "new Object[] {", "}");
        for (int i = 0; i < one.getParameterCount(); i++) {
            args.add("a" + i);
        }
        return "\"" + kind.getName() + "\", \"" + Runner.name(one) + "\", " + args;
    }

    private static String parameters(Executable one) {
        StringJoiner text = new StringJoiner(", ", "(", ")");
        Type[] types = one.getGenericParameterTypes();
        for (int i = 0; i < types.length; i++) {
            String type = name(types[i]);
            if (one.isVarArgs() && i == types.length - 1) {
                type = type.substring(0, type.lastIndexOf('[')) + "...";
            }
            text.add(type + " a" + i);
        }
        StringJoiner thrown = new StringJoiner(", ", " throws ", " ").setEmptyValue(" ");
        for (Type error : one.getGenericExceptionTypes()) {
            thrown.add(name(error));
        }
        return text + thrown.toString();
    }

    private static String variables(TypeVariable<?>[] variables) {
        if (variables.length == 0) {
            return "";
        }
        StringJoiner text = new StringJoiner(", ", "<", "> ");
        for (TypeVariable<?> one : variables) {
            StringJoiner bounds = new StringJoiner(" & ");
            for (Type bound : one.getBounds()) {
                bounds.add(name(bound));
            }
            text.add(one.getName() + " extends " + bounds);
        }
        return text.toString();
    }

    private static String name(Type type) {
        return type.getTypeName().replace('$', '.');
    }

    private static String box(Class<?> kind) {
        return kind == int.class ? "Integer" : kind == char.class ? "Character"
                : Character.toUpperCase(kind.getName().charAt(0)) + kind.getName().substring(1);
    }
}
