"""Writes tests/tools/agentdojo.json: which tools the tasks of AgentDojo call, in order, with arguments.

    python3 -m venv /tmp/dojo && /tmp/dojo/bin/pip install agentdojo==0.1.35
    /tmp/dojo/bin/python tests/tools/extract_agentdojo.py

AgentDojo (https://github.com/ethz-spylab/agentdojo) is under the MIT licence, which goes into the file.
Its tools are classified here by what they do, as a skill's author would.
"""

import datetime
import importlib.metadata
import json
import pathlib

from agentdojo.task_suite.load_suites import get_suites

READS, INGESTS, SENDS, CHANGES = "reads_private", "ingests_untrusted", "sends_out", "changes_state"

# What others wrote can be in mail, invitations, shared files, transactions, channels, pages and reviews.
EFFECTS = {
    "none": ["get_current_day"],
    READS: [
        "get_sent_emails", "get_draft_emails", "search_contacts_by_name", "search_contacts_by_email",
        "get_iban", "get_balance", "get_scheduled_transactions", "get_user_info", "get_channels",
        "get_users_in_channel", "get_user_information",
    ],
    f"{READS} {INGESTS}": [
        "get_unread_emails", "get_received_emails", "search_emails", "search_calendar_events",
        "get_day_calendar_events", "get_file_by_id", "list_files", "search_files",
        "search_files_by_filename", "get_most_recent_transactions", "read_file",
        "read_channel_messages", "read_inbox",
    ],
    INGESTS: [
        "get_all_hotels_in_city", "get_hotels_prices", "get_rating_reviews_for_hotels",
        "get_hotels_address", "get_all_restaurants_in_city", "get_cuisine_type_for_restaurants",
        "get_restaurants_address", "get_rating_reviews_for_restaurants",
        "get_dietary_restrictions_for_all_restaurants", "get_contact_information_for_restaurants",
        "get_price_for_restaurants", "check_restaurant_opening_hours",
        "get_all_car_rental_companies_in_city", "get_car_types_available",
        "get_rating_reviews_for_car_rental", "get_car_fuel_options", "get_car_rental_address",
        "get_car_price_per_day", "get_flight_information",
    ],
    f"{INGESTS} {SENDS}": ["get_webpage"],
    CHANGES: [
        "delete_email", "create_file", "delete_file", "append_to_file", "update_password",
        "update_user_info",
    ],
    f"{SENDS} {CHANGES}": [
        "send_email", "create_calendar_event", "cancel_calendar_event", "reschedule_calendar_event",
        "add_calendar_event_participants", "share_file", "send_money", "schedule_transaction",
        "update_scheduled_transaction", "add_user_to_channel", "send_direct_message",
        "send_channel_message", "invite_user_to_slack", "remove_user_from_slack", "post_webpage",
        "reserve_hotel", "reserve_restaurant", "reserve_car_rental",
    ],
}


def plain(value):
    """As JSON: dates become text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def calls(task, suite):
    """What a task's own solution calls."""
    environment = suite.load_and_inject_default_environment({})
    if hasattr(task, "init_environment"):
        environment = task.init_environment(environment)
    return [
        {"tool": call.function, "args": plain(dict(call.args))}
        for call in task.ground_truth(environment)
    ]


def main():
    effects = {tool: words.split() for words, tools in EFFECTS.items() for tool in tools}
    suites = {}
    for name, suite in get_suites("v1.2.2").items():
        known = {tool.name for tool in suite.tools}
        unknown = known - effects.keys()
        assert not unknown, f"not classified: {unknown}"
        user = {key: {"prompt": task.PROMPT, "calls": calls(task, suite)} for key, task in suite.user_tasks.items()}
        injected = {key: {"goal": task.GOAL, "calls": calls(task, suite)} for key, task in suite.injection_tasks.items()}
        suites[name] = {
            "tools": {tool: effects[tool] for tool in sorted(known)},
            "user_tasks": user,
            "injection_tasks": injected,
        }
    files = importlib.metadata.files("agentdojo")
    licence = next(file for file in files if file.name == "LICENSE")
    whole = {
        "source": f"agentdojo {importlib.metadata.version('agentdojo')}, tasks v1.2.2",
        "licence": licence.read_text(),
        "suites": suites,
    }
    path = pathlib.Path(__file__).with_name("agentdojo.json")
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, suite in suites.items():
        print(f"{name}: {len(suite['user_tasks'])} user tasks, {len(suite['injection_tasks'])} injection tasks")


main()
