-- The laws, and projections of stored fits, inside SQL. Sizes are parameters, data are tokens, losses are nats a token.

-- Power law of size.
create or replace macro law_power(n, a, alpha) as a * n ** -alpha;
-- Power law of size down to an irreducible loss.
create or replace macro law_power_offset(n, e, a, alpha) as e + a * n ** -alpha;
-- A curve that several series share, and the log ratio delta of one of them to it.
create or replace macro law_relative(n, delta, e, a, alpha) as exp(delta) * (e + a * n ** -alpha);
-- Power law that flattens below the size n0.
create or replace macro law_shifted_power(n, e, a, alpha, n0) as e + a * (n + n0) ** -alpha;
-- Power law between two plateaus.
create or replace macro law_bounded(n, e, a, alpha, n0) as e + a / (1 + (n / n0) ** alpha);
-- Power law whose exponent changes at the size n1.
create or replace macro law_broken_power(n, e, a, alpha, change, n1, width) as
    e + a * n ** -alpha * (1 + (n / n1) ** (1 / width)) ** (-change * width);
-- Power law of data.
create or replace macro law_data_power(d, b, beta) as b * d ** -beta;
-- Power law of data down to an irreducible loss.
create or replace macro law_data_power_offset(d, e, b, beta) as e + b * d ** -beta;
-- Power law of data beyond what pretraining was worth.
create or replace macro law_rectified(d, e, b, beta, d0) as e + b / (d0 + d ** beta);
-- Product of powers of size and data.
create or replace macro law_joint(n, d, e, a, alpha, beta) as e + a * n ** -alpha * d ** -beta;
-- Sum of powers of size and data.
create or replace macro law_chinchilla(n, d, e, a, alpha, b, beta) as e + a * n ** -alpha + b * d ** -beta;
-- Sum of powers in which the data term depends on size.
create or replace macro law_interaction(n, d, e, a, alpha, b, beta, gamma) as
    e + a * n ** -alpha + b * n ** -gamma * d ** -beta;
-- Size and data as one bracket, without irreducible loss.
create or replace macro law_kaplan(n, d, nc, alpha_n, dc, alpha_d) as
    ((nc / n) ** (alpha_n / alpha_d) + dc / d) ** alpha_d;
-- A power of the sum of powers of size and data.
create or replace macro law_skaling(n, d, e, a, alpha, r, beta, k) as
    e + a * (n ** -alpha + r * d ** -beta) ** k;

-- The loss of a law whose parameters are given by name, as the tables fit_parameter and fit_draw have them.
create or replace macro law_loss(law, p, n, d) as
    case law
        when 'power' then law_power(n, p['A'], p['alpha'])
        when 'power_offset' then law_power_offset(n, p['E'], p['A'], p['alpha'])
        when 'relative' then law_relative(n, p['delta'], p['E'], p['A'], p['alpha'])
        when 'shifted_power' then law_shifted_power(n, p['E'], p['A'], p['alpha'], p['N0'])
        when 'bounded' then law_bounded(n, p['E'], p['A'], p['alpha'], p['N0'])
        when 'broken_power' then law_broken_power(n, p['E'], p['A'], p['alpha'], p['change'], p['N1'], p['width'])
        when 'data_power' then law_data_power(d, p['B'], p['beta'])
        when 'data_power_offset' then law_data_power_offset(d, p['E'], p['B'], p['beta'])
        when 'rectified' then law_rectified(d, p['E'], p['B'], p['beta'], p['D0'])
        when 'joint' then law_joint(n, d, p['E'], p['A'], p['alpha'], p['beta'])
        when 'chinchilla' then law_chinchilla(n, d, p['E'], p['A'], p['alpha'], p['B'], p['beta'])
        when 'interaction' then law_interaction(n, d, p['E'], p['A'], p['alpha'], p['B'], p['beta'], p['gamma'])
        when 'kaplan' then law_kaplan(n, d, p['Nc'], p['alpha_N'], p['Dc'], p['alpha_D'])
        when 'skaling' then law_skaling(n, d, p['E'], p['A'], p['alpha'], p['R'], p['beta'], p['k'])
        else error('law ' || law || ' is not among the macros: use `astraios fit-scaling --reuse`')
    end;

-- A quantile of a sorted list, between its two neighbours.
create or replace macro sorted_quantile(l, q) as
    l[floor(q * (len(l) - 1))::bigint + 1] + (q * (len(l) - 1) - floor(q * (len(l) - 1)))
        * (l[ceil(q * (len(l) - 1))::bigint + 1] - l[floor(q * (len(l) - 1))::bigint + 1]);

-- A straight line between the knots (x ascending) around a value; beyond the last one its own.
create or replace macro interpolated(xs, ys, x) as
    case when x >= xs[len(xs)] then ys[len(xs)]
    else ys[len(list_filter(xs, lambda v: v <= x))]
        + (ys[len(list_filter(xs, lambda v: v <= x)) + 1] - ys[len(list_filter(xs, lambda v: v <= x))])
        * (x - xs[len(list_filter(xs, lambda v: v <= x))])
        / (xs[len(list_filter(xs, lambda v: v <= x)) + 1] - xs[len(list_filter(xs, lambda v: v <= x))]) end;

-- Projections of a stored fit of losses to any sizes, from its draws alone: what `astraios fit-scaling --reuse` prints.
-- the_fit: a fit_id or its beginning; sizes: a list of parameters; tokens: one number, or null.
create or replace macro project(the_fit, sizes, tokens := null) as table
with chosen as (
    from fit
    where quantity = 'loss' and starts_with(fit_id, the_fit)
),
law_weight as (
    select fit_id, key as law, value::double as weight, id as place
    from chosen, json_each(certificate, '$.weights')
),
size as (
    select unnest(sizes)::double as n_params, tokens::double as n_tokens
),
parameters as (
    select fit_id, law, draw, map_from_entries(list((name, value))) as p
    from fit_draw
    semi join chosen using (fit_id)
    where law <> 'auto'
    group by fit_id, law, draw
),
drawn as (
    select fit_id, law, draw, n_params, n_tokens, ln(law_loss(law, p, n_params, n_tokens)) as log_loss, weight, place
    from parameters
    join law_weight using (fit_id, law)
    cross join size
),
best as (
    select fit_id, n_params, n_tokens, sum(weight * log_loss) as log_mean
    from drawn
    where draw = -1
    group by all
),
numbered as (
    select fit_id, n_params, log_loss, row_number() over (partition by fit_id, n_params order by place, draw) - 1 as draw
    from drawn
    where draw >= 0
),
shape as (
    select fit_id, draw, max(value) filter (where name = 'form') as form, max(value) filter (where name = 'noise') as noise,
        max(value) filter (where name = 'stretch') as stretch
    from fit_draw
    semi join chosen using (fit_id)
    where law = 'auto'
    group by fit_id, draw
),
reach as (
    select fit_id, n_params, greatest(0, max(
        case key when 'n_params' then ln(n_params) when 'n_tokens' then ln(n_tokens) else ln(n_params) + ln(n_tokens) end
        - ln(value::double))) as far
    from chosen, json_each(certificate, '$.largest'), size
    group by fit_id, n_params
),
-- What repeats from hold-out to hold-out is taken off, and differences are drawn to the last known ones.
moved as (
    select fit_id, n_params, coalesce(interpolated((certificate->'$.order_at')::double[], (certificate->'$.order')::double[], far), 0)
        - coalesce((certificate->>'bias')::double, 0) * sqrt(far) as moved
    from reach
    join chosen using (fit_id)
),
off as (
    select fit_id, n_params, log_mean + moved as log_mean, stretch, noise, (certificate->>'sigma')::double as sigma,
        log_loss - log_mean + (certificate->>'sigma')::double * form * sqrt(far) as off
    from numbered
    join shape using (fit_id, draw)
    join best using (fit_id, n_params)
    join reach using (fit_id, n_params)
    join moved using (fit_id, n_params)
    join chosen using (fit_id)
),
spread as (
    select fit_id, n_params,
        list_sort(list(log_mean + stretch * off)) as means, list_sort(list(log_mean + stretch * (off + sigma * noise))) as news
    from off
    group by fit_id, n_params
)
select f.fit_id, f.method_id, b.n_params, b.n_tokens, exp(b.log_mean + m.moved) as mean,
    exp(least(sorted_quantile(means, (1 - level) / 2), b.log_mean + m.moved)) as low,
    exp(greatest(sorted_quantile(means, (1 + level) / 2), b.log_mean + m.moved)) as high,
    exp(least(sorted_quantile(news, (1 - level) / 2), b.log_mean + m.moved)) as new_low,
    exp(greatest(sorted_quantile(news, (1 + level) / 2), b.log_mean + m.moved)) as new_high,
    f.level
from best b
join chosen f using (fit_id)
join moved m using (fit_id, n_params)
left join spread s using (fit_id, n_params)
order by f.fit_id, b.n_params;

-- Bits per byte, which losses of different tokenizers can be compared in.
create or replace macro bits_per_byte(loss_nats, bytes_per_token) as loss_nats / ln(2) / bytes_per_token;
