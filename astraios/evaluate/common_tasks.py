"""Common benchmarks that others score models on: what guessing gets, which way their metrics go, and who made them.

Names are those of lm-evaluation-harness where it has the task. What a file of results says of its own items goes before
what stands here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CHOICE = ("acc", "acc_norm", "acc_norm_nospace", "acc_uncond", "acc_mutual_info", "acc_bytes", "acc_per_byte",
          "acc_per_char", "acc_per_token", "acc_raw", "acc_uncond_pmi", "accuracy", "len_norm", "prefix_exact_match",
          "quasi_prefix_exact_match", "answer_probability", "choice")  # fmt: skip
"""Metrics of choosing among some answers, on which guessing scores one over their number."""
WRITTEN = re.compile(r"(?i)^(exact[_ ]?match|em|pass|rouge|bleu|sacrebleu|chrf|meteor|ter|f1)(\W|_|\d|l|lsum|$)")
"""Metrics of written answers, on which guessing scores nothing."""
_TEXT = ("word_perplexity", "byte_perplexity", "bits_per_byte", "perplexity")


@dataclass(frozen=True)
class CommonTask:
    """One benchmark."""

    name: str
    choices: int
    """Answers that an item offers; 0 where answers are written."""
    citation: str
    pattern: str = ""
    """Regular expression of the names that it goes by; its own name and what begins with it and _ where empty."""
    items: int | None = None
    """Items of the split that is scored."""
    lower_is_better: tuple[str, ...] = ()
    """Metrics of which less is better."""

    def named(self, task: str) -> bool:
        """Whether a task's name, lower case with _ for other signs, is one of its names."""
        return re.fullmatch(self.pattern or re.escape(self.name), task) is not None

    def chance(self, metric: str) -> float | None:
        """What guessing scores on a metric; None where that does not follow from the number of choices."""
        name = metric.lower().partition(",")[0]
        if self.choices:
            return 1 / self.choices if name in CHOICE else None
        return guessing_open(metric)


def guessing_open(metric: str) -> float | None:
    """What guessing scores where answers are open (written, or a completion): nothing; None where the metric is other.

    >>> guessing_open("exact_match,strict-match"), guessing_open("perplexity") is None
    (0.0, True)
    """
    name = metric.lower().partition(",")[0]
    return 0.0 if name in CHOICE or WRITTEN.match(name) else None


def _tasks() -> tuple[CommonTask, ...]:
    """Choices, name, citation, items and further names of each."""
    t = CommonTask
    return (
        # Knowledge and examinations.
        t("mmlu", 4, "Hendrycks et al. (2021), arXiv:2009.03300", r"(mmlu|hendryckstest)(?!_pro)(_.*)?|.*_mmlu",
          14042),
        t("mmlu_pro", 10, "Wang et al. (2024), arXiv:2406.01574", r"(leaderboard_)?mmlu_pro(_.*)?", 12032),
        t("arc_easy", 4, "Clark et al. (2018), arXiv:1803.05457", r"arc_?e(asy)?(_.*)?|ai2_arc_easy", 2376),
        t("arc_challenge", 4, "Clark et al. (2018), arXiv:1803.05457",
          r"arc_?c(hallenge)?(?!_chat)(_.*)?|ai2_arc_challenge", 1172),
        t("sciq", 4, "Welbl et al. (2017), arXiv:1707.06209", items=1000),
        t("openbookqa", 4, "Mihaylov et al. (2018), arXiv:1809.02789", r"open_?book_?qa(_.*)?|obqa", 500),
        t("gpqa", 4, "Rein et al. (2023), arXiv:2311.12022", r"(leaderboard_)?gpqa(?!.*(generative|cot))(_.*)?", 448),
        t("medqa", 4, "Jin et al. (2020), arXiv:2009.13081", r"medqa(_4options)?(_.*)?", 1273),
        t("medmcqa", 4, "Pal et al. (2022), arXiv:2203.14371", items=4183),
        t("pubmedqa", 3, "Jin et al. (2019), arXiv:1909.06146", r"pubmed_?qa(_.*)?", 500),
        t("ceval", 4, "Huang et al. (2023), arXiv:2305.08322", r"c_?eval(_.*)?", 1346),
        t("cmmlu", 4, "Li et al. (2023), arXiv:2306.09212", r"cmmlu(_.*)?", 11582),
        t("triviaqa", 0, "Joshi et al. (2017), arXiv:1705.03551", r"trivia_?qa(_.*)?"),
        t("nq_open", 0, "Kwiatkowski et al. (2019), TACL 7", r"nq_open|naturalqs?(_.*)?|natural_?questions"),
        t("webqs", 0, "Berant et al. (2013), EMNLP"),
        t("jeopardy", 0, "MosaicML (2023), LLM-foundry evaluation gauntlet", r"jeopardy(_.*)?"),
        t("bigbench_qa_wikidata", 0, "Srivastava et al. (2022), arXiv:2206.04615", items=20321),
        # Common sense.
        t("hellaswag", 4, "Zellers et al. (2019), arXiv:1905.07830", r"hella_?swag(_.*)?", 10042),
        t("piqa", 2, "Bisk et al. (2020), arXiv:1911.11641", r"piqa(_.*)?", 1838),
        t("social_iqa", 3, "Sap et al. (2019), arXiv:1904.09728", r"(social_?i_?qa|siqa)(_.*)?", 1954),
        t("commonsense_qa", 5, "Talmor et al. (2019), arXiv:1811.00937", r"(common_?sense_?qa|csqa)(_.*)?", 1221),
        t("winogrande", 2, "Sakaguchi et al. (2020), arXiv:1907.10641", r"wino_?grande(_.*)?", 1267),
        t("winograd", 2, "Levesque et al. (2012), KR", r"wino_?grad(_wsc)?|wsc273|wsc", 273),
        t("xwinograd", 2, "Tikhonov and Ryabinin (2021), arXiv:2106.12066", r"xwinograd(_.*)?", 2325),
        t("copa", 2, "Roemmele et al. (2011), AAAI Spring Symposium", r"copa(_.*)?", 100),
        t("xcopa", 2, "Ponti et al. (2020), arXiv:2005.00333", r"xcopa(_.*)?", 500),
        t("xstorycloze", 2, "Lin et al. (2021), arXiv:2112.10668", r"(xstory_?cloze|story_?cloze)(_.*)?", 1511),
        t("swag", 4, "Zellers et al. (2018), arXiv:1808.05326", items=20006),
        t("prost", 4, "Aroca-Ouellette et al. (2021), arXiv:2106.03634"),
        t("mc_taco", 2, "Zhou et al. (2019), arXiv:1909.03065"),
        # Reading.
        t("boolq", 2, "Clark et al. (2019), arXiv:1905.10044", r"boolq(_.*)?", 3270),
        t("race", 4, "Lai et al. (2017), arXiv:1704.04683", r"race(_.*)?", 1045),
        t("belebele", 4, "Bandarkar et al. (2023), arXiv:2308.16884", r"belebele(_.*)?", 900),
        t("lambada", 0, "Paperno et al. (2016), arXiv:1606.06031", r"lambada(_.*)?", 5153, ("perplexity",)),
        t("squad", 0, "Rajpurkar et al. (2016), arXiv:1606.05250", r"squad(?!_completion)(_?v?[12])?(_.*)?", 10570),
        t("coqa", 0, "Reddy et al. (2019), arXiv:1808.07042", r"coqa(_.*)?", 7983),
        t("drop", 0, "Dua et al. (2019), arXiv:1903.00161", r"drop(_.*)?", 9536),
        t("qasper_bool", 2, "Dasigi et al. (2021), arXiv:2105.03011"),
        t("quac", 0, "Choi et al. (2018), arXiv:1808.07036", r"quac(_.*)?"),
        # Language understanding.
        t("rte", 2, "Wang et al. (2018), arXiv:1804.07461 (GLUE)", r"(sglue_)?rte", 277),
        t("mnli", 3, "Williams et al. (2018), arXiv:1704.05426", r"mnli(_mismatch)?"),
        t("xnli", 3, "Conneau et al. (2018), arXiv:1809.05053", r"xnli(_.*)?", 2490),
        t("anli", 3, "Nie et al. (2020), arXiv:1910.14599", r"anli(_.*)?"),
        t("cb", 3, "De Marneffe et al. (2019), Sinn und Bedeutung 23", items=56),
        t("wic", 2, "Pilehvar and Camacho-Collados (2019), arXiv:1808.09121", items=638),
        t("sst2", 2, "Socher et al. (2013), EMNLP", r"sst_?2", 872),
        t("mrpc", 2, "Dolan and Brockett (2005), IWP", items=408),
        t("qnli", 2, "Wang et al. (2018), arXiv:1804.07461 (GLUE)"),
        t("blimp", 2, "Warstadt et al. (2020), arXiv:1912.00582", r"blimp(_.*)?", 67000),
        t("paws", 2, "Zhang et al. (2019), arXiv:1904.01130", r"paws(_.*)?"),
        # Reasoning and mathematics.
        t("logiqa", 4, "Liu et al. (2020), arXiv:2007.08124", r"logi_?qa2?(_.*)?", 651),
        t("mathqa", 5, "Amini et al. (2019), arXiv:1905.13319", r"math_?qa(_.*)?", 2985),
        t("aqua_rat", 5, "Ling et al. (2017), arXiv:1705.04146", r"(agi_?eval_)?aqua(_rat)?", 254),
        t("gsm8k", 0, "Cobbe et al. (2021), arXiv:2110.14168", r"gsm8?k?(_.*)?|mgsm(_.*)?", 1319),
        t("math", 0, "Hendrycks et al. (2021), arXiv:2103.03874",
          r"(hendrycks_|minerva_|leaderboard_)?math(_hard|_500|_algebra.*)?|minerva_math_.*", 5000),
        t("svamp", 0, "Patel et al. (2021), arXiv:2103.07191", r"svamp(_.*)?", 300),
        t("asdiv", 0, "Miao et al. (2020), arXiv:2106.15772", r"asdiv(_.*)?"),
        t("bbh", 0, "Suzgun et al. (2022), arXiv:2210.09261", r"bbh_(cot_)?(few|zero)shot(_.*)?|bbh"),
        t("arithmetic", 0, "Brown et al. (2020), arXiv:2005.14165", r"(simple_)?arithmetic(_.*)?"),
        t("aime", 0, "Mathematical Association of America", r"aime(_?\d+)?"),
        # Programs.
        t("humaneval", 0, "Chen et al. (2021), arXiv:2107.03374", r"human_?eval(_.*|plus)?", 164),
        t("mbpp", 0, "Austin et al. (2021), arXiv:2108.07732", r"mbpp(_.*|plus)?", 500),
        t("multipl_e", 0, "Cassano et al. (2023), arXiv:2208.08227 (MultiPL-E)", r"multiple?_(e|.*)"),
        t("ds1000", 0, "Lai et al. (2022), arXiv:2211.11501", r"ds_?1000(_.*)?", 1000),
        t("apps", 0, "Hendrycks et al. (2021), arXiv:2105.09938", r"apps(_.*)?"),
        t("livecodebench", 0, "Jain et al. (2024), arXiv:2403.07974", r"live_?code_?bench(_.*)?"),
        t("swe_bench", 0, "Jimenez et al. (2024), arXiv:2310.06770", r"swe_?bench(_.*)?"),
        # Following instructions, and text itself.
        t("ifeval", 0, "Zhou et al. (2023), arXiv:2311.07911", r"(leaderboard_)?ifeval(_.*)?", 541),
        t("wikitext", 0, "Merity et al. (2016), arXiv:1609.07843", r"wikitext(_.*)?", lower_is_better=_TEXT),
        t("pile", 0, "Gao et al. (2020), arXiv:2101.00027", r"pile(_.*)?", lower_is_better=_TEXT),
        t("paloma", 0, "Magnusson et al. (2023), arXiv:2312.10523", r"paloma(_.*)?", lower_is_better=_TEXT),
    )  # fmt: skip


COMMON_TASKS = _tasks()


def common_task(name: str) -> CommonTask | None:
    """The benchmark that a task's name stands for; a variant in brackets does not matter. None if it is not one.

    >>> common_task("arc_challenge [limit=100]").choices
    4
    >>> common_task("my-own-task") is None
    True
    """
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower().partition(" [")[0]).strip("_")
    return next((task for task in COMMON_TASKS if task.named(plain)), None)


def guessing(name: str, metric: str) -> float | None:
    """What guessing scores on a metric of a benchmark; None where nobody knows.

    >>> guessing("hellaswag", "acc_norm"), guessing("gsm8k", "exact_match,strict-match")
    (0.25, 0.0)
    """
    task = common_task(name)
    return None if task is None else task.chance(metric)
