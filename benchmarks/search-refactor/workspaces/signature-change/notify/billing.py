"""Reminders of bills."""

from notify.sending import send as send_message


def remind(customer: str, number: int, days: int) -> None:
    send_message(customer, f"bill {number} is {days} days late", urgent=days > 30)


def thank(customer: str, number: int) -> None:
    send_message(customer, text=f"bill {number} is paid")
