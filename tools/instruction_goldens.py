#!/usr/bin/env python3
"""Golden verdicts for src/gym/instructions/: the published IFEval checkers run on crafted and drawn responses.

Oracle: the copy of google-research's instruction_following_eval in the PyPI wheel lm-eval (0.4.13 was used), unpacked, not
installed. One rule is newer at the source than in that copy and is applied here: keywords:letter_frequency counts any single
character (the copy replaces "#" and "!" by a random letter).

NLTK must be 3.9: from 3.10 on its word tokenizer uses the `regex` module, whose \\w counts combining marks and not "\u00b2";
the published scores were made with `re`.

  python3 -m venv V && V/bin/pip install nltk==3.9.1 langdetect immutabledict packaging && V/bin/pip download --no-deps lm-eval
  V/bin/python tools/instruction_goldens.py lm_eval-*.whl > tests/golden/gym/instructions.jsonl
  V/bin/python tools/instruction_goldens.py lm_eval-*.whl --approximate > tests/golden/gym/languages.jsonl
"""
import argparse
import importlib
import json
import os
import random
import sys
import tempfile
import types
import zipfile


def load_oracle(wheel):
    folder = tempfile.mkdtemp()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith("lm_eval/tasks/ifeval/instructions"):
                archive.extract(name, folder)
    for name in ("lm_eval", "lm_eval.tasks", "lm_eval.tasks.ifeval"):
        package = types.ModuleType(name)
        package.__path__ = [os.path.join(folder, *name.split("."))]
        sys.modules[name] = package
    import nltk
    nltk.data.find = lambda *a, **k: True  # the module asks for a data file at import; only the approximate five use it
    return importlib.import_module("lm_eval.tasks.ifeval.instructions_registry").INSTRUCTION_DICT


def make_checker(registry, instruction, kwargs):
    checker = registry[instruction](instruction)
    checker.build_description(**kwargs)
    if instruction == "keywords:letter_frequency":
        checker._letter = kwargs["letter"].strip().lower()
    return checker


def verdicts(registry, instruction, kwargs, response):
    lines = response.split("\n")
    variants = [response, "\n".join(lines[1:]).strip(), "\n".join(lines[:-1]).strip(), "\n".join(lines[1:-1]).strip()]
    variants += [text.replace("*", "") for text in variants]
    follows = [bool(text.strip() and make_checker(registry, instruction, kwargs).check_following(text)) for text in variants]
    return follows[0], any(follows)


RELATIONS = ("less than", "at least")

# Per instruction: option sets, the alphabet of drawn responses (pieces), crafted responses.
GENERAL = [
    "", " ", "\n", "Hello, world!", "A short answer.", "*bold* and **bolder**", "line one\nline two\nline three",
    "Sure! Here it is:\nThe answer.\nHope that helps!", "\u00dcber caf\u00e9 na\u00efve \u2014 \u4f60\u597d \u043f\u0440\u0438\u0432\u0435\u0442",
    "\u00a0padded\u3000", "tabs\tand\x0bmore\x1cspaces\x85end", "\"quoted\"", "\"", "\"\"", "a" * 400, "* a\n* b\n* c", "- a\n- b",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902", "emoji \U0001f600 test", "\u0130stanbul \u03a3\u03a3 \u017f \u212a \u0131",
]

CASES = {
    "keywords:existence": (
        [{"keywords": ["mom", "mother"]}, {"keywords": ["Kelvin"]}, {"keywords": ["stra\u00dfe", "\u00c4pfel"]}, {"keywords": ["le", "hou"]}],
        ["mom", "mother", "Mom", "MOTHER", " ", "mo", "ther", "kelvin", "\u212aelvin", "strasse", "STRA\u1e9eE", "stra\u00dfe", "\u00e4pfel", "\u00c4PFEL", "le", "HOU", "\n"],
        ["My mom is a mother.", "MOMMOTHER", "mom", "m o m mother", "mother", "\u212aELVIN", "hole house", "Hole\nHouse", "stra\u00dfe \u00e4pfel"]),
    "keywords:frequency": (
        [{"keyword": "war", "frequency": 2, "relation": r} for r in RELATIONS] + [{"keyword": " peace ", "frequency": 1, "relation": "at least"},
         {"keyword": "aa", "frequency": 3, "relation": "less than"}],
        ["war", "War", "WAR", "warm", " ", "w", "ar", "peace", "PEACE", "aa", "a", "aaa", "\n", "\u017f", "\u0131"],
        ["war war", "warwar", "wars and WARS and toward", "aaaaa", "aaaaaa", "peace", "none", "war\nwar\nwar", "*war* *war*"]),
    "keywords:forbidden_words": (
        [{"forbidden_words": ["rock"]}, {"forbidden_words": ["no", "yes"]}, {"forbidden_words": ["BC", "\u00fcber"]}, {"forbidden_words": ["s"]}],
        ["rock", "Rock", "rocks", "_rock", " ", "-", "no", "know", "yes", ".", "bc", "\u00dcber", "\u00fcberall", "s", "'s", "\u0301", "1", "\n"],
        ["rocket", "a rock.", "rock\u0301", "no-one", "nobody", "Yes!", "500BC", "500 BC", "BC-era", "x_BC", "it's", "is", "**rock**", "\u2019s"]),
    "keywords:letter_frequency": (
        [{"letter": "t", "let_frequency": 2, "let_relation": r} for r in RELATIONS] + [{"letter": "#", "let_frequency": 4, "let_relation": "at least"},
         {"letter": "!", "let_frequency": 2, "let_relation": "less than"}, {"letter": "I", "let_frequency": 1, "let_relation": "at least"}],
        ["t", "T", "#", "!", "i", "I", "\u0130", "\u0131", " ", "x", "\n", "##"],
        ["tt", "TT", "test", "#hash#tag##", "# # # #", "wow!", "wow!!", "I", "\u0130", "none", "*t*t*"]),
    "length_constraints:number_paragraphs": (
        [{"num_paragraphs": n} for n in (1, 2, 3)],
        ["***", "*", " ", "\n", "a", "b c", "****", "\u00a0", "** *", "\x1c"],
        ["a\n***\nb", "a***b***c", "***\na\n***\nb\n***", "a\n***\n\n***\nb", "a\n\n***\n\nb", "a *** b", "a****b", "***", "a\n* * *\nb", "******", "a******b"]),
    "length_constraints:number_words": (
        [{"num_words": n, "relation": r} for n, r in ((3, "less than"), (3, "at least"), (6, "at least"))],
        ["a", "bc", " ", "-", "_", "'", "1", "\u0301", "\u093f", "\u0928", "\u00b2", "\u2160", "\u4f60", ".", "\n", "\u200b", "\u00bd"],
        ["one two three", "don't stop", "a-b-c", "snake_case words", "1,000.50", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u4f60\u597d \u4e16\u754c", "x\u00b2 y\u00bd", "...", "a*b*c*d"]),
    "length_constraints:nth_paragraph_first_word": (
        [{"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "weekend"}, {"num_paragraphs": 3, "nth_paragraph": 1, "first_word": "It"},
         {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "jasper"}],
        ["weekend", "Weekend,", "\"Weekend\"", "it", "It's", "'it", "jasper", " ", "\n\n", "\n", "\n\n\n", "Jasper's", "word", ".", "\u00a0"],
        ["a\n\nweekend x", "a\n\n\nweekend", "a\n\n\n\nweekend", "it x\n\nb\n\nc", "\"'it\"\n\nb\n\nc", "'\"it\n\nb\n\nc", "It's\n\nb\n\nc", "jasper", "Jasper!x", "\n\njasper",
         "jasper\n\n", " jasper", "a\n\nweekend\n\n\n\n", "**jasper**", "*jasper* y"]),
    "detectable_content:number_placeholders": (
        [{"num_placeholders": n} for n in (1, 2, 3)],
        ["[", "]", "a", " ", "\n", "[x]", "[]", "[["],
        ["[name] [address]", "[a\nb]", "[[a]]", "[] [] []", "[a]]", "[a [b] c]", "[one\n[two] [three]", "]["]),
    "detectable_content:postscript": (
        [{"postscript_marker": "P.S."}, {"postscript_marker": "P.P.S"}, {"postscript_marker": "PS: "}, {"postscript_marker": "P.P.P.S"}],
        ["p.", "P.", "s.", "S", "s", " ", "\n", "x", "P.S.", "P.P.S", "ps:", "pxs"],
        ["x\nP.S. y", "x\nP.P.S. y", "P. S. z", "p.s", "P.P.S y", "P. P. S", "p.p.s.", "PS: hello", "ps hello", "P.\nS.", "mid p.s. line", "**P.S.** y", "PxPyPzS", "p.p.p.s"]),
    "detectable_format:number_bullet_lists": (
        [{"num_bullets": n} for n in (1, 2, 3)],
        ["* ", "*", "- ", "-", "a", " ", "\n", "\n\n", "**", "\t", "*a", "\r", "--"],
        ["* a\n* b", "*a\n*b", "- a\n* b", "** a\n* b", "*\na\n* b", "* a\n\n* b\n", "  * a\n  - b", "text\n* a", "a - b", "---\n* a", "*", "*\n", "\n\n* a", "*\n\n* b",
         "* a * b", "\u2022 a\n\u2022 b", "1. a\n- b", "*\t\n-"]),
    "detectable_format:constrained_response": (
        [{}],
        ["My answer is yes.", "My answer is no.", "My answer is maybe.", "my answer is yes.", " ", "\n", "My answer is", "x", "*"],
        ["My answer is yes.", "  My answer is no.  ", "I think: My answer is maybe. Truly.", "My answer is yes", "My answer is: yes.", "My answer is no.My answer is yes.",
         "My *answer* is yes.", "MY ANSWER IS YES."]),
    "detectable_format:number_highlighted_sections": (
        [{"num_highlights": n} for n in (1, 2, 4)],
        ["*", "**", "***", "a", " ", "\n", "b c", "****"],
        ["*a* *b*", "**a**", "**a** *b*", "***a***", "* a *", "*\n*", "**", "****", "* *", "*a\nb*", "**a*b**", "*a**b*", "***a**", "**a***", "* x\n* y\n* z", "** ** *a*"]),
    "detectable_format:multiple_sections": (
        [{"section_spliter": "SECTION", "num_sections": 2}, {"section_spliter": "Section", "num_sections": 1}, {"section_spliter": " Day ", "num_sections": 3}],
        ["SECTION", "Section", "Day", " ", "1", "2", "10", "\n", "x", "\u0663", "  "],
        ["SECTION 1\na\nSECTION 2\nb", "SECTION1 SECTION2", "SECTION  1 SECTION 2", "SECTION I\nSECTION II", "Section 1", "section 1", "Day 1 Day 2 Day 3", "Day1Day2Day3",
         "**SECTION 1**\n**SECTION 2**", "SECTION 1SECTION 2", "SECTION *1*\nSECTION *2*", "SECTION\n1 SECTION\t2"]),
    "detectable_format:json_format": (
        [{}],
        ["{", "}", "[", "]", "\"a\"", ":", ",", "1", "-", "0", ".5", "e3", "true", "null", "NaN", " ", "\n", "```", "```json", "\\"],
        ["{}", "[]", "{\"a\": 1}", "```json\n{\"a\": [1, 2.5e-3, null]}\n```", "```\n[1]\n```", "```JSON\n{}```", "```Json{}```", "{'a': 1}", "{\"a\": 1,}", "1", "\"x\"", "-0", "01", "1.", ".5",
         "1e5", "NaN", "-Infinity", "Infinity", "+1", "tru", "{\"a\" 1}", "{\"a\": \"\\u12g4\"}", "{\"a\": \"\\ud800\"}", "\"\\x\"", "\"a\nb\"", "\"\t\"", "{\"a\":1}{", "[1,2", "[" * 100 + "]" * 100,
         "{\"a\":1,\"a\":2}", "\ufeff{}", "\u00a0{}\u00a0", "{\u00a0}", "```{}", "{}```", "``````", "```json```", "[1] ```", "Here:\n{\"a\": 1}\nBye", "1" * 4300, "1" * 4301, "-" + "1" * 4301,
         "1" * 4301 + ".0", "\"\\\"\"", "\"\\", "\"\x7f\"", "[\"\u4f60\"]", "1E400", "\u0661"]),
    "detectable_format:title": (
        [{}],
        ["<<", ">>", "<", ">", "a", " ", "\n", "<<a>>", "<<>>"],
        ["<<title>>", "<< >>", "<<>>", "<<<>>>", "<<a\nb>>", "<<a", "a>>", ">>a<<", "<<a>> <<b>>", "<< a > >>", "<<>>>", "<<<a>", "x <<poem of joy>> y", "<<\u00a0>>", "*<<a>>*", "<<>> <<b>>", "<<>>x>>"]),
    "combination:two_responses": (
        [{}],
        ["******", "*****", "*", "a", "b", " ", "\n", "*******"],
        ["a******b", "a******a", "a\n******\nb", "******a******b******", "a************b", "a******b******c", "a", "******", "a******", "a ****** a ", "a*****b", "a*******b", "a ****** ******"]),
    "combination:repeat_prompt": (
        [{"prompt_to_repeat": "Write a haiku."}, {"prompt_to_repeat": "  \u00dcber \u03a3\u03a3 \u0130x "}],
        ["Write a haiku.", "write A haiku.", " ", "\n", "Write", "x", "\u00fcber \u03c3\u03c2 i\u0307x", "\u00dcBER \u03a3\u03a3 \u0130X", "*"],
        ["Write a haiku. Leaves fall", "WRITE A HAIKU.\n\nOk", "  write a haiku.", "Sure: Write a haiku.", "Write a haiku", "*Write a haiku.*", "Here:\nWrite a haiku. ok", "Write a  haiku.",
         "\u00dcber \u03a3\u03a3 \u0130x!", "\u00fcber \u03c3\u03c3 i\u0307x"]),
    "startend:end_checker": (
        [{"end_phrase": "Is there anything else I can help with?"}, {"end_phrase": " The End. "}, {"end_phrase": "\u03a3\u03a3"}],
        ["Is there anything else I can help with?", "The End.", "the end.", "\"", " ", "\n", "x", "*", "\u03c3\u03c2", "\u03a3\u03a3"],
        ["Bye. Is there anything else I can help with?", "is there ANYTHING else i can help with?\n", "\"x the end.\"", "The End", "The End.\"", "The End.\" \"", "The End. \"", "The End.*", "The End.\nBye",
         "\u03c3\u03a3", "\u03c3\u03c2", "end.", "'The End.'", "\"\"The End.\"\""]),
    "punctuation:no_comma": (
        [{}],
        [",", "a", "\uff0c", "\u060c", ";", "\n", " ", "*"],
        ["a, b", "a b", "1,000", "\u3001", "a;b", "x\n,\ny", ",first\nsecond", "first\nlast,"]),
    "startend:quotation": (
        [{}],
        ["\"", "a", " ", "\n", "\u201c", "\u201d", "'", "*"],
        ["\"a\"", " \"a\" ", "\"a", "a\"", "\"\"", "\"", "\u201ca\u201d", "'a'", "Sure:\n\"a\"", "*\"a\"*", "\"a\" b \"c\"", "\"a\n\nb\"\n"]),
}

ENGLISH = ("The quick brown fox jumps over the lazy dog. It was a fine day in the park, and we were happy to be there! "
           "Do you think that Mr. Smith will come? He said so at 5 p.m. yesterday. I don't know...")
TEXTS = [
    ENGLISH, ENGLISH.upper(), ENGLISH.lower(), "hello there, how are you doing today my friend?", "HELLO THERE! THIS IS ALL IN CAPITAL LETTERS AND IN ENGLISH.",
    "Der Hund ist nicht mit der Katze im Haus, aber sie sind auch nicht im Garten.", "Ich habe heute keine Zeit, weil ich mit meinen Eltern essen gehe.",
    "Le chat est sur la table et les enfants sont dans le jardin avec leur m\u00e8re.", "El perro no est\u00e1 en la casa porque los ni\u00f1os lo llevaron al parque.",
    "O menino n\u00e3o est\u00e1 em casa porque foi com a m\u00e3e ao mercado para comprar p\u00e3o.", "Il ragazzo non \u00e8 a casa perch\u00e9 \u00e8 andato con la madre al mercato.",
    "Min\u00e4 en tied\u00e4, mutta h\u00e4n sanoi ett\u00e4 se on hyv\u00e4 kirja ja ett\u00e4 kaikki ovat lukeneet sen.",
    "T\u00f4i kh\u00f4ng bi\u1ebft, nh\u01b0ng \u0111\u00f3 l\u00e0 m\u1ed9t cu\u1ed1n s\u00e1ch hay v\u00e0 m\u1ecdi ng\u01b0\u1eddi \u0111\u00e3 \u0111\u1ecdc n\u00f3.",
    "Mimi sijui, lakini hiki ni kitabu kizuri na watu wengi wamekisoma katika nchi yetu kwa muda mrefu.",
    "\u042f \u043d\u0435 \u0437\u043d\u0430\u044e, \u043d\u043e \u044d\u0442\u043e \u0445\u043e\u0440\u043e\u0448\u0430\u044f \u043a\u043d\u0438\u0433\u0430, \u0438 \u0432\u0441\u0435 \u0435\u0451 \u0447\u0438\u0442\u0430\u043b\u0438 \u0432 \u0448\u043a\u043e\u043b\u0435.",
    "\u0410\u0437 \u043d\u0435 \u0437\u043d\u0430\u043c, \u043d\u043e \u0442\u043e\u0432\u0430 \u0435 \u0434\u043e\u0431\u0440\u0430 \u043a\u043d\u0438\u0433\u0430 \u0438 \u0432\u0441\u0438\u0447\u043a\u0438 \u0441\u0430 \u044f \u0447\u0435\u043b\u0438 \u0432 \u0443\u0447\u0438\u043b\u0438\u0449\u0435.",
    "\u092e\u0941\u091d\u0947 \u0928\u0939\u0940\u0902 \u092a\u0924\u093e, \u0932\u0947\u0915\u093f\u0928 \u092f\u0939 \u090f\u0915 \u0905\u091a\u094d\u091b\u0940 \u0915\u093f\u0924\u093e\u092c \u0939\u0948 \u0914\u0930 \u0938\u092c\u0928\u0947 \u0907\u0938\u0947 \u092a\u0922\u093c\u093e \u0939\u0948\u0964",
    "\u092e\u0932\u093e \u092e\u093e\u0939\u093f\u0924 \u0928\u093e\u0939\u0940, \u092a\u0923 \u0939\u0947 \u090f\u0915 \u091a\u093e\u0902\u0917\u0932\u0947 \u092a\u0941\u0938\u094d\u0924\u0915 \u0906\u0939\u0947 \u0906\u0923\u093f \u0938\u0930\u094d\u0935\u093e\u0902\u0928\u0940 \u0924\u0947 \u0935\u093e\u091a\u0932\u0947 \u0906\u0939\u0947.",
    "\u092e\u0932\u093e\u0908 \u0925\u093e\u0939\u093e \u091b\u0948\u0928, \u0924\u0930 \u092f\u094b \u0930\u093e\u092e\u094d\u0930\u094b \u0915\u093f\u0924\u093e\u092c \u0939\u094b \u0930 \u0938\u092c\u0948\u0932\u0947 \u092a\u0922\u0947\u0915\u093e \u091b\u0928\u094d\u0964",
    "\u0644\u0627 \u0623\u0639\u0631\u0641\u060c \u0644\u0643\u0646 \u0647\u0630\u0627 \u0643\u062a\u0627\u0628 \u062c\u064a\u062f \u0648\u0642\u062f \u0642\u0631\u0623\u0647 \u0627\u0644\u062c\u0645\u064a\u0639 \u0641\u064a \u0627\u0644\u0645\u062f\u0631\u0633\u0629.",
    "\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645\u060c \u0627\u0645\u0627 \u0627\u06cc\u0646 \u06a9\u062a\u0627\u0628 \u062e\u0648\u0628\u06cc \u0627\u0633\u062a \u0648 \u0647\u0645\u0647 \u0622\u0646 \u0631\u0627 \u062f\u0631 \u0645\u062f\u0631\u0633\u0647 \u062e\u0648\u0627\u0646\u062f\u0647\u200c\u0627\u0646\u062f.",
    "\u0645\u062c\u06be\u06d2 \u0646\u06c1\u06cc\u06ba \u0645\u0639\u0644\u0648\u0645\u060c \u0644\u06cc\u06a9\u0646 \u06cc\u06c1 \u0627\u06cc\u06a9 \u0627\u0686\u06be\u06cc \u06a9\u062a\u0627\u0628 \u06c1\u06d2 \u0627\u0648\u0631 \u0633\u0628 \u0646\u06d2 \u0627\u0633\u06d2 \u067e\u0691\u06be\u0627 \u06c1\u06d2\u06d4",
    "\ub098\ub294 \uc798 \ubaa8\ub974\uc9c0\ub9cc \uc774\uac83\uc740 \uc88b\uc740 \ucc45\uc785\ub2c8\ub2e4.", "\u0b87\u0ba4\u0bc1 \u0b92\u0bb0\u0bc1 \u0ba8\u0bb2\u0bcd\u0bb2 \u0baa\u0bc1\u0ba4\u0bcd\u0ba4\u0b95\u0bae\u0bcd.",
    "\u0c07\u0c26\u0c3f \u0c12\u0c15 \u0c2e\u0c02\u0c1a\u0c3f \u0c2a\u0c41\u0c38\u0c4d\u0c24\u0c15\u0c02.", "\u0c87\u0ca6\u0cc1 \u0c92\u0c82\u0ca6\u0cc1 \u0c92\u0cb3\u0ccd\u0cb3\u0cc6\u0caf \u0caa\u0cc1\u0cb8\u0ccd\u0ca4\u0c95.",
    "\u0a07\u0a39 \u0a07\u0a71\u0a15 \u0a1a\u0a70\u0a17\u0a40 \u0a15\u0a3f\u0a24\u0a3e\u0a2c \u0a39\u0a48.", "\u098f\u099f\u09bf \u098f\u0995\u099f\u09bf \u09ad\u09be\u09b2\u09cb \u09ac\u0987\u0964", "\u0e19\u0e35\u0e48\u0e04\u0e37\u0e2d\u0e2b\u0e19\u0e31\u0e07\u0e2a\u0e37\u0e2d\u0e17\u0e35\u0e48\u0e14\u0e35",
    "\u0a86 \u0a8f\u0a95 \u0ab8\u0abe\u0ab0\u0ac1\u0a82 \u0aaa\u0ac1\u0ab8\u0acd\u0aa4\u0a95 \u0a9b\u0ac7.",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel")
    parser.add_argument("--approximate", action="store_true", help="the language langdetect finds, instead")
    parser.add_argument("--drawn", type=int, default=70, help="drawn responses per instruction")
    options = parser.parse_args()
    registry = load_oracle(options.wheel)
    out = []
    if options.approximate:
        import langdetect
        langdetect.DetectorFactory.seed = 0
        for text in TEXTS:
            print(json.dumps({"response": text, "language": langdetect.detect(text), "upper": text.isupper(), "lower": text.islower()}))
        return
    draw = random.Random(20261122)
    for instruction, (option_sets, pieces, crafted) in CASES.items():
        responses = crafted + GENERAL + ["".join(draw.choices(pieces, k=draw.randint(1, 14))) for _ in range(options.drawn)]
        responses += ["Sure, here:\n" + text for text in crafted[:6]] + [text + "\nHope it helps, bye." for text in crafted[:6]]
        out += [(instruction, option_sets[i % len(option_sets)], text) for i, text in enumerate(responses)]
        out += [(instruction, draw.choice(option_sets), text) for text in crafted]
    for instruction, kwargs, response in out:
        strict, loose = verdicts(registry, instruction, kwargs, response)
        print(json.dumps({"id": instruction, "kwargs": kwargs, "response": response, "strict": strict, "loose": loose}))


if __name__ == "__main__":
    main()
